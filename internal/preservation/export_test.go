package preservation

// ReadTreesByRange makes the service read every tree file a range a level, as it
// reads large ones.
func (s *Service) ReadTreesByRange() { s.wholeTree = 0 }
