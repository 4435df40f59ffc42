// Package folder reads the folders a scan centre hands over (contract, section
// 5): which batches are in it, with their index and files. It reads names, sizes
// and the index, nothing else, and knows no database: command line and watched
// folder use it alike.
//
// Every <id>.index.csv and <id>.index.xml, and index.csv and index.xml, is one
// batch; the two forms of one id belong together. A *.truth.json is for tests
// and ignored, as is what operating systems leave in folders. No symbolic link
// is followed: a name in an index never leads out of the folder.
package folder
