package search

// Dictionary is the frozen word list of the compound splitter. See LoadDictionary.
type Dictionary struct{}
