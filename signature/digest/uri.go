package digest

import "fmt"

// uris are the identifiers of XML Signature and Encryption (RFC 9231 section
// 2.1, XML Encryption 1.1 section 5.8), written once here.
var uris = map[Algorithm]string{
	MD5:       "http://www.w3.org/2001/04/xmldsig-more#md5",
	SHA1:      "http://www.w3.org/2000/09/xmldsig#sha1",
	RIPEMD160: "http://www.w3.org/2001/04/xmlenc#ripemd160",
	SHA224:    "http://www.w3.org/2001/04/xmldsig-more#sha224",
	SHA256:    "http://www.w3.org/2001/04/xmlenc#sha256",
	SHA384:    "http://www.w3.org/2001/04/xmldsig-more#sha384",
	SHA512:    "http://www.w3.org/2001/04/xmlenc#sha512",
	SHA3_224:  "http://www.w3.org/2007/05/xmldsig-more#sha3-224",
	SHA3_256:  "http://www.w3.org/2007/05/xmldsig-more#sha3-256",
	SHA3_384:  "http://www.w3.org/2007/05/xmldsig-more#sha3-384",
	SHA3_512:  "http://www.w3.org/2007/05/xmldsig-more#sha3-512",
}

// URI is the identifier used in ds:DigestMethod, "" for an unknown algorithm.
func (a Algorithm) URI() string { return uris[a] }

// FromURI returns the algorithm with this identifier, or [ErrUnknownAlgorithm].
func FromURI(uri string) (Algorithm, error) {
	for a, u := range uris {
		if u == uri {
			return a, nil
		}
	}
	return "", fmt.Errorf("%w: identifier %q", ErrUnknownAlgorithm, uri)
}
