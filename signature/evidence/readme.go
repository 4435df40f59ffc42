package evidence

import (
	"fmt"
	"strings"
	"time"
)

// readme writes README.txt: German first, then the same in English. The commands
// are complete and work in the folder as it is.
func readme(p Package, s Summary, tokens []tokenFile) []byte {
	var b strings.Builder
	b.WriteString(`BEWEISPAKET
===========

Dieser Ordner enthält Dokumente und die Nachweise, dass es sie zu einem
bestimmten Zeitpunkt gab und dass sie seither unverändert sind. Sie können das
ohne das Programm prüfen, das den Ordner geschrieben hat.

  manifest.sha256        Hashwerte aller anderen Dateien
  metadata.json          Angaben zum Dokument, zum Lesen
  objects/               die Dateien selbst; der Name ist der SHA-256-Hashwert.
                         Zu jeder Archivversion gehören die Primärdateien, ein
                         Metadaten-Objekt (JSON) und ein Zufallswert (Salt)
  evidence/<n>.er        Beweissatz (Evidence Record, RFC 4998, DER)
  evidence/<n>.objects   welche Objekte der Beweissatz n als Gruppe schützt
  tokens/                die Zeitstempel (RFC 3161) und ihre Hashwerte
  certificates/          Zertifikate der Zeitstempeldienste
  revocation/            Sperrlisten und OCSP-Antworten
  reports/               Prüfberichte zu Signaturen, soweit vorhanden

`)
	fmt.Fprintf(&b, "Inhalt: %d Objekte, %d Bytes, %d Beweissätze.\n", s.Objects, s.Bytes, s.Records)
	if s.Pending > 0 {
		fmt.Fprintf(&b, `
ACHTUNG: %d Gruppe(n) sind noch nicht versiegelt. Für sie gibt es in diesem
Ordner keinen Beweis; exportieren Sie das Dokument nach der Versiegelung neu.
`, s.Pending)
	}
	b.WriteString("\n")
	groups(&b, p, "Gruppe", "nicht versiegelt")
	b.WriteString(`
1. Sind alle Dateien unverändert?

   sha256sum --check --strict manifest.sha256

`)
	if len(tokens) > 0 {
		b.WriteString(`2. Sind die Zeitstempel echt? ANKER.pem ist das Wurzelzertifikat des
   Zeitstempeldienstes. Besorgen Sie es beim Dienst oder aus der Vertrauensliste
   und nicht aus diesem Ordner.

`)
		commands(&b, tokens, "ANKER.pem")
		b.WriteString(`
   Ist ein Zertifikat inzwischen abgelaufen, fügen Sie -attime SEKUNDEN mit der
   Zeit des nächsten Zeitstempels an (Sekunden seit 1970).

3. Deckt der Zeitstempel die Dokumente? Das rechnet jedes Prüfprogramm für
   RFC 4998 nach, zum Beispiel:

   evb verify . --trust ANKER.pem

   Von Hand: die SHA-256-Werte der Objekte aus evidence/<n>.objects aufsteigend
   sortieren, aneinanderhängen, hashen; das Ergebnis mit jeder weiteren Liste
   des Hashbaums ebenso; der letzte Wert steht in tokens/<n>-1.imprint.
   (Die Listen zeigt: openssl asn1parse -inform DER -in evidence/1.er)

`)
	}
	b.WriteString(`
EVIDENCE PACKAGE
================

This folder holds documents and the proof that they existed at a certain time
and have not changed since. It can be checked without the program that wrote it.

  manifest.sha256        digests of all other files
  metadata.json          facts about the document, for reading
  objects/               the files themselves, named by their SHA-256: primary
                         files, one metadata object (JSON) and a random salt of
                         each archive version
  evidence/<n>.er        evidence record (RFC 4998, DER)
  evidence/<n>.objects   the objects that record n protects as one group
  tokens/                the time-stamps (RFC 3161) and their message imprints
  certificates/          certificates of the time-stamping authorities
  revocation/            CRLs and OCSP responses
  reports/               signature validation reports, if any

`)
	fmt.Fprintf(&b, "Content: %d objects, %d bytes, %d evidence records.\n", s.Objects, s.Bytes, s.Records)
	if s.Pending > 0 {
		fmt.Fprintf(&b, `
NOTE: %d group(s) are not sealed yet. There is no proof for them in this folder;
export the document again after it has been sealed.
`, s.Pending)
	}
	b.WriteString("\n")
	groups(&b, p, "Group", "not sealed")
	b.WriteString(`
1. Are all files unchanged?

   sha256sum --check --strict manifest.sha256

`)
	if len(tokens) > 0 {
		b.WriteString(`2. Are the time-stamps genuine? ANCHOR.pem is the root certificate of the
   time-stamping authority. Get it from the authority or the trusted list, not
   from this folder.

`)
		commands(&b, tokens, "ANCHOR.pem")
		b.WriteString(`
   If a certificate has expired meanwhile, add -attime SECONDS with the time of
   the next time-stamp (seconds since 1970).

3. Does the time-stamp cover the documents? Any RFC 4998 verifier answers that,
   for example:

   evb verify . --trust ANCHOR.pem

   By hand: sort the SHA-256 values of the objects in evidence/<n>.objects
   ascending, concatenate, hash; do the same with the result and each further
   list of the hash tree; the last value is the one in tokens/<n>-1.imprint.
   (The lists: openssl asn1parse -inform DER -in evidence/1.er)
`)
	}
	return []byte(b.String())
}

// maxReadmeTokens keeps README.txt readable for a whole Akte.
const maxReadmeTokens = 20

func commands(b *strings.Builder, tokens []tokenFile, anchor string) {
	for i, t := range tokens {
		if i == maxReadmeTokens {
			fmt.Fprintf(b, "   ... (%d)\n", len(tokens)-i)
			break
		}
		fmt.Fprintf(b, "   openssl ts -verify -token_in -in %s \\\n     -digest $(cut -d' ' -f2 %s) -CAfile %s\n     # %s %s\n",
			t.path, t.imprintPath, anchor, t.genTime.UTC().Format(time.RFC3339), oneLine(t.signer))
	}
}

func groups(b *strings.Builder, p Package, word, pending string) {
	for i, g := range p.Groups {
		fmt.Fprintf(b, "  %s %d: %s", word, i+1, oneLine(g.ArchiveVersion))
		if g.Record == nil {
			fmt.Fprintf(b, " (%s)", pending)
		}
		b.WriteString("\n")
		for _, m := range g.Members {
			for _, d := range m.Digests {
				if d.Algorithm == "sha256" {
					fmt.Fprintf(b, "    objects/%s  %s\n", d.Hex(), oneLine(m.Name))
				}
			}
		}
	}
}

// oneLine keeps foreign names from breaking the layout of README.txt.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
