package web

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/annotation"
	"evb/internal/audit"
	"evb/internal/export"
	"evb/internal/fault"
	"evb/internal/find"
	"evb/internal/indexing"
	"evb/internal/intake"
	"evb/internal/org"
	"evb/internal/process"
	"evb/internal/rules"
	"evb/internal/scan"
	"evb/internal/substitution"
	"evb/internal/web/problem"
)

// routes is every address of the program, by who uses it. What stands here
// with an ID is the API and goes into the OpenAPI document.
func (s *Server) routes() []route {
	const v1 = "/api/v1"
	p := s.p.Postkoerbe
	paged := []string{"limit", "cursor"}
	with := func(names ...string) []string { return append(names, paged...) }
	return slices.Concat(s.operation(), []route{
		{Method: "GET", Path: "/api/openapi.json", ID: "openapi", DE: "Diese Beschreibung", EN: "This document", Handle: s.getOpenAPI, Open: true, Out: map[string]any{}},
		// Who
		{Method: "POST", Path: v1 + "/login", ID: "login", DE: "Anmelden", EN: "Sign in", Handle: s.postLogin, Login: true, In: loginBody{}, Status: http.StatusNoContent},
		{Method: "POST", Path: v1 + "/logout", ID: "logout", DE: "Abmelden", EN: "Sign out", Handle: s.postLogout, Login: true, Status: http.StatusNoContent},
		{Method: "GET", Path: v1 + "/me", ID: "me", DE: "Wer ich bin", EN: "Who I am", Handle: s.getMe, Out: meView{}},
		{Method: "POST", Path: v1 + "/tokens", ID: "createToken", DE: "API-Token ausstellen", EN: "Make an API token", Handle: s.postToken, In: tokenBody{}, Out: tokenView{}, Status: http.StatusCreated},
		{Method: "DELETE", Path: v1 + "/tokens/{id}", ID: "revokeToken", DE: "API-Token sperren", EN: "Revoke an API token", Handle: s.deleteToken, Status: http.StatusNoContent},
		{Method: "GET", Path: v1 + "/users", ID: "users", DE: "Personen und Dienstkonten", EN: "Users", Handle: s.getUsers, Query: paged, Out: list[org.User]{}},
		{Method: "GET", Path: v1 + "/units", ID: "units", DE: "Organisationseinheiten", EN: "Org units", Handle: s.getUnits, Query: paged, Out: list[org.Unit]{}},
		{Method: "GET", Path: v1 + "/access/explain", ID: "explain", DE: "Warum jemand etwas sieht oder nicht", EN: "Why somebody sees something or not", Handle: s.getExplain, Query: []string{"user", "object"}, Out: explanationView{}},
		{Method: "GET", Path: v1 + "/events", ID: "events", DE: "Laufende Hinweise (SSE)", EN: "Live hints (SSE)", Handle: s.getEvents, Class: events, OutType: "text/event-stream"},
		// Dokumente
		{Method: "POST", Path: v1 + "/dokumente", ID: "createDokument", DE: "Dokument einreichen", EN: "Submit a Dokument", Handle: s.postDokument, Class: upload, InType: "multipart/form-data", Out: intake.Receipt{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/dokumente", ID: "dokumente", DE: "Dokumente", EN: "Dokumente", Handle: s.getDokumente, Query: with("vorgang_id", "akte_id", "batch_uuid", "unfiled", "state", "count"), Out: list[dokumentView]{}},
		{Method: "GET", Path: v1 + "/dokumente/{id}", ID: "dokument", DE: "Ein Dokument", EN: "One Dokument", Handle: one(s.p.Akten.Dokument, dokumentAnswer), Out: dokumentView{}},
		{Method: "PATCH", Path: v1 + "/dokumente/{id}", ID: "changeDokument", DE: "Angaben ändern", EN: "Change metadata", Handle: changed(s.changeDokument, dokumentAnswer), In: dokumentPatch{}, Out: dokumentView{}, IfMatch: true},
		{Method: "GET", Path: v1 + "/dokumente/{id}/content", ID: "content", DE: "Inhalt, unverändert", EN: "Content, unchanged", Handle: s.getContent, Class: download, Ranges: true, Query: []string{"version", "file", "download"}, OutType: "application/octet-stream"},
		{Method: "GET", Path: v1 + "/dokumente/{id}/text", ID: "text", DE: "Text", EN: "Text", Handle: s.getText, Class: download, Query: []string{"version"}, OutType: "text/plain"},
		{Method: "GET", Path: v1 + "/dokumente/{id}/pages/{n:[0-9]+}.png", ID: "page", DE: "Bild einer Seite", EN: "Image of a page", Handle: s.getPage, Class: download, Query: []string{"version"}, OutType: "image/png"},
		{Method: "GET", Path: v1 + "/dokumente/{id}/versions", ID: "versions", DE: "Versionen", EN: "Versions", Handle: one(s.p.Akten.Dokument, versionsAnswer), Out: list[versionView]{}},
		{Method: "POST", Path: v1 + "/dokumente/{id}/versions", ID: "createVersion", DE: "Weitere Version einreichen", EN: "Submit a further version", Handle: s.postVersion, Class: upload, InType: "multipart/form-data", Out: intake.Receipt{}, Status: http.StatusCreated, IfMatch: true, Key: keyOptional},
		{Method: "POST", Path: v1 + "/dokumente/{id}/check-out", ID: "checkOut", DE: "Auschecken: bis wann nur ich eine Version einreiche", EN: "Check out: until when only I add a version", Handle: s.postCheckOut, In: checkOutBody{}, Out: dokumentView{}},
		{Method: "POST", Path: v1 + "/dokumente/{id}/check-in", ID: "checkIn", DE: "Einchecken: JSON ohne, Formular mit einer Version (file, metadata)", EN: "Check in: JSON without, a form with a version (file, metadata)", Handle: s.postCheckIn, Class: upload, InType: "multipart/form-data", In: checkInBody{}, Out: dokumentView{}, Key: keyOptional},
		{Method: "POST", Path: v1 + "/dokumente/{id}/check-out/return", ID: "returnCheckOut", DE: "Ausgechecktes zurückholen, mit Begründung (Leitung, Registratur)", EN: "Take a checked-out Dokument back, with a reason (head, registry)", Handle: explained(s.p.Akten.ReturnCheckOut, dokumentAnswer), In: reasonBody{}, Out: dokumentView{}, IfMatch: true},
		{Method: "GET", Path: v1 + "/dokumente/{id}/fields", ID: "fieldsFit", DE: "Felder und ob sie zum geltenden Schema passen", EN: "Fields, and whether they fit the schema in force", Handle: one(s.p.Akten.FieldsFit, fitAnswer), Out: fitView{}},
		{Method: "GET", Path: v1 + "/document-types", ID: "documentTypes", DE: "Geltende Schemata der Dokumentarten", EN: "Schemas of document types in force", Handle: s.getDocumentTypes, Query: paged, Out: list[akte.TypeSchema]{}},
		{Method: "GET", Path: v1 + "/document-types/{type}/schemas", ID: "schemaVersions", DE: "Fassungen des Schemas einer Dokumentart", EN: "Versions of the schema of a document type", Handle: s.getSchemaVersions, Query: paged, Out: list[akte.TypeSchema]{}},
		{Method: "POST", Path: v1 + "/document-types/{type}/schemas", ID: "setSchema", DE: "Schema einer Dokumentart festlegen (nächste Fassung)", EN: "Lay down the schema of a document type (next version)", Handle: s.postSchema, In: schemaBody{}, Out: akte.TypeSchema{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/document-types/{type}/unfit", ID: "unfit", DE: "Dokumente, deren Felder nicht mehr zum geltenden Schema passen", EN: "Dokumente whose fields no longer fit the schema in force", Handle: s.getUnfit, Query: []string{"cursor"}, Out: list[fitView]{}},
		{Method: "GET", Path: v1 + "/dokumente/{id}/annotations", ID: "annotations", DE: "Anmerkungen und Textmarken, die ich lesen darf", EN: "Annotations and text marks that I may read", Handle: s.getAnnotations, Query: with("version", "removed"), Out: list[annotation.Annotation]{}},
		{Method: "POST", Path: v1 + "/dokumente/{id}/annotations", ID: "annotate", DE: "Anmerkung oder Textmarke neben das Original setzen", EN: "Put an annotation or a text mark beside the original", Handle: s.postAnnotation, In: annotationBody{}, Out: annotation.Annotation{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/annotations/{id}", ID: "annotation", DE: "Eine Anmerkung mit früheren Fassungen", EN: "One annotation with its earlier wordings", Handle: one(s.p.Annotations.ByID, annotationAnswer), Out: annotation.Annotation{}},
		{Method: "PATCH", Path: v1 + "/annotations/{id}", ID: "changeAnnotation", DE: "Eigene Anmerkung ändern", EN: "Change an annotation of one's own", Handle: changed(s.changeAnnotation, annotationAnswer), In: annotationPatch{}, Out: annotation.Annotation{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/annotations/{id}/remove", ID: "removeAnnotation", DE: "Anmerkung entfernen; fremde mit Begründung (Leitung, Registratur)", EN: "Remove an annotation; of others with a reason (head, registry)", Handle: explained(s.p.Annotations.Remove, annotationAnswer), In: reasonBody{}, Out: annotation.Annotation{}, IfMatch: true},
		{Method: "GET", Path: v1 + "/dokumente/{id}/difference", ID: "difference", DE: "Unterschied zweier Versionen im Text", EN: "Difference between the texts of two versions", Handle: s.getDifference, Query: []string{"from", "to"}, Out: differenceText{}},
		{Method: "GET", Path: v1 + "/dokumente/{id}/history", ID: "history", DE: "Verlauf", EN: "History", Handle: s.getHistory, Query: with("format"), Out: list[historyView]{}},
		{Method: "GET", Path: v1 + "/dokumente/{id}/items", ID: "dokumentItems", DE: "Wo es liegt", EN: "Where it lies", Handle: s.getDokumentItems, Out: list[itemView]{}},
		{Method: "POST", Path: v1 + "/dokumente/{id}/file", ID: "file", DE: "Zum Vorgang nehmen", EN: "File to a Vorgang", Handle: s.postFile, In: fileBody{}, Out: dokumentView{}},
		{Method: "POST", Path: v1 + "/dokumente/{id}/move", ID: "move", DE: "Umlegen, mit Begründung", EN: "Move, with a reason", Handle: s.postMove, In: fileBody{}, Out: dokumentView{}},
		{Method: "POST", Path: v1 + "/dokumente/{id}/reopen", ID: "reopenDokument", DE: "Schlussgezeichnetes Dokument wieder öffnen, mit Begründung", EN: "Reopen a Dokument that was signed off, with a reason", Handle: explained(s.p.Akten.ReopenDokument, dokumentAnswer), In: reasonBody{}, Out: dokumentView{}, IfMatch: true},
		{Method: "GET", Path: v1 + "/dokumente/{id}/evidence", ID: "evidence", DE: "Stand des Nachweises", EN: "State of the evidence", Handle: one(s.p.Preservation.EvidenceOf, evidenceAnswer), Out: evidenceView{}},
		{Method: "GET", Path: v1 + "/dokumente/{id}/evidence-record", ID: "evidenceRecord", DE: "Evidence Record (RFC 4998, DER)", EN: "Evidence record (RFC 4998, DER)", Handle: s.getEvidenceRecord, Query: []string{"archive_version"}, OutType: "application/octet-stream"},
		{Method: "GET", Path: v1 + "/dokumente/{id}/signatures", ID: "signatures", DE: "Prüfberichte zu Signaturen", EN: "Signature reports", Handle: s.getSignatures, Out: list[json.RawMessage]{}},
		// Batches, quarantine
		{Method: "POST", Path: v1 + "/batches", ID: "createBatch", DE: "Stapel anmelden", EN: "Announce a batch", Handle: s.postBatch, Class: upload, InType: "multipart/form-data", Out: scan.Book{}, Status: http.StatusCreated, Key: keyObligatory},
		{Method: "GET", Path: v1 + "/batches", ID: "batches", DE: "Stapel", EN: "Batches", Handle: s.getBatches, Query: with("state", "count"), Out: list[scan.Book]{}},
		{Method: "GET", Path: v1 + "/batches/{id}", ID: "batch", DE: "Buch eines Stapels", EN: "Book of a batch", Handle: s.getBatch, Out: scan.Book{}},
		{Method: "PUT", Path: v1 + "/batches/{id}/files/{name}", ID: "putBatchFile", DE: "Datei oder Stück davon (Content-Range)", EN: "A file or a piece of it (Content-Range)", Handle: s.putBatchFile, Class: upload, InType: "application/octet-stream", Out: scan.Upload{}},
		{Method: "GET", Path: v1 + "/batches/{id}/files/{name}", ID: "batchFile", DE: "Stand des Hochladens (auch HEAD: Upload-Offset)", EN: "How far the upload is (HEAD: Upload-Offset)", Handle: s.headBatchFile, Out: scan.Upload{}},
		{Method: "POST", Path: v1 + "/batches/{id}/submit", ID: "submitBatch", DE: "Stapel übergeben", EN: "Submit a batch", Handle: s.submitBatch, Out: scan.Book{}, Status: http.StatusAccepted},
		{Method: "POST", Path: v1 + "/batches/{id}/resolve", ID: "resolveBatch", DE: "Klärungsbedürftigen Stapel abschließen, mit Begründung", EN: "End a batch that needs attention, with a reason", Handle: s.resolveBatch, In: reasonBody{}, Out: scan.Book{}, IfMatch: true},
		{Method: "GET", Path: v1 + "/quarantine", ID: "quarantine", DE: "Quarantäne", EN: "Quarantine", Handle: s.getQuarantine, Query: with("batch_uuid", "state", "count"), Out: list[quarantineView]{}},
		{Method: "GET", Path: v1 + "/quarantine/{id}", ID: "quarantined", DE: "Ein Eintrag", EN: "One entry", Handle: one(s.p.Intake.QuarantineByID, quarantineAnswer), Out: quarantineView{}},
		{Method: "GET", Path: v1 + "/quarantine/{id}/content", ID: "quarantinedContent", DE: "Die Datei, wie sie kam", EN: "The file as it came", Handle: s.getQuarantineContent, Class: download, OutType: "application/octet-stream"},
		{Method: "POST", Path: v1 + "/quarantine/{id}/retry", ID: "retryQuarantined", DE: "Erneut versuchen", EN: "Try again", Handle: changed(s.retryQuarantined, quarantineAnswer), In: reasonBody{}, Out: quarantineView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/quarantine/{id}/release", ID: "releaseQuarantined", DE: "Freigeben, mit Begründung", EN: "Release, with a reason", Handle: explained(s.p.Intake.Release, quarantineAnswer), In: reasonBody{}, Out: quarantineView{}, IfMatch: true},
		// Aktenplan, Akten, Vorgänge
		{Method: "GET", Path: v1 + "/aktenplan", ID: "aktenplan", DE: "Aktenplan", EN: "Aktenplan", Handle: s.getAktenplan, Query: paged, Out: list[nodeView]{}},
		{Method: "GET", Path: v1 + "/aktenplan/{id}/akten", ID: "einheitAkten", DE: "Akten einer Aktenplaneinheit", EN: "Akten of an Aktenplaneinheit", Handle: s.getEinheitAkten, Query: paged, Out: list[akteView]{}},
		{Method: "GET", Path: v1 + "/akten", ID: "akten", DE: "Akten", EN: "Akten", Handle: s.getAkten, Query: with("aktenzeichen", "subject", "lifecycle", "unit", "aktenplaneinheit_id"), Out: list[akteView]{}},
		{Method: "POST", Path: v1 + "/akten", ID: "createAkte", DE: "Akte anlegen", EN: "Make an Akte", Handle: s.postAkte, In: akteBody{}, Out: akteView{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/akten/{id}", ID: "akte", DE: "Eine Akte", EN: "One Akte", Handle: one(s.p.Akten.Akte, akteAnswer), Out: akteView{}},
		{Method: "PATCH", Path: v1 + "/akten/{id}", ID: "changeAkte", DE: "Akte ändern", EN: "Change an Akte", Handle: changed(s.changeAkte, akteAnswer), In: patchBody{}, Out: akteView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/akten/{id}/close", ID: "closeAkte", DE: "Akte schließen", EN: "Close an Akte", Handle: explained(s.p.Akten.CloseAkte, akteAnswer), In: reasonBody{}, Out: akteView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/akten/{id}/reopen", ID: "reopenAkte", DE: "Akte wieder öffnen", EN: "Reopen an Akte", Handle: explained(s.p.Akten.ReopenAkte, akteAnswer), In: reasonBody{}, Out: akteView{}, IfMatch: true},
		{Method: "GET", Path: v1 + "/akten/{id}/vorgaenge", ID: "akteVorgaenge", DE: "Vorgänge einer Akte", EN: "Vorgänge of an Akte", Handle: s.getAkteVorgaenge, Query: paged, Out: list[vorgangView]{}},
		{Method: "POST", Path: v1 + "/akten/{id}/vorgaenge", ID: "createAkteVorgang", DE: "Vorgang in einer Akte anlegen", EN: "Make a Vorgang in an Akte", Handle: s.postAkteVorgang, In: vorgangBody{}, Out: vorgangView{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/akten/{id}/history", ID: "akteHistory", DE: "Verlauf einer Akte mit allem darin (format=text zum Lesen)", EN: "History of an Akte with all in it (format=text to read)", Handle: s.getHistory, Query: with("format"), Out: list[historyView]{}},
		{Method: "GET", Path: v1 + "/vorgaenge", ID: "vorgaenge", DE: "Vorgänge, aller oder einer Akte", EN: "Vorgänge, of all Akten or of one", Handle: s.getVorgaenge, Query: with("akte_id", "count"), Out: list[vorgangView]{}},
		{Method: "POST", Path: v1 + "/vorgaenge", ID: "createVorgang", DE: "Vorgang anlegen", EN: "Make a Vorgang", Handle: s.postVorgang, In: vorgangBody{}, Out: vorgangView{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/vorgaenge/{id}", ID: "vorgang", DE: "Ein Vorgang", EN: "One Vorgang", Handle: one(s.p.Akten.Vorgang, vorgangAnswer), Out: vorgangView{}},
		{Method: "PATCH", Path: v1 + "/vorgaenge/{id}", ID: "changeVorgang", DE: "Vorgang ändern", EN: "Change a Vorgang", Handle: changed(s.changeVorgang, vorgangAnswer), In: patchBody{}, Out: vorgangView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/vorgaenge/{id}/close", ID: "closeVorgang", DE: "Vorgang schließen (z. d. A.)", EN: "Close a Vorgang", Handle: explained(s.p.Akten.CloseVorgang, vorgangAnswer), In: reasonBody{}, Out: vorgangView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/vorgaenge/{id}/move", ID: "moveVorgang", DE: "Vorgang in eine andere Akte verschieben, mit Begründung", EN: "Move a Vorgang to another Akte, with a reason", Handle: changed(s.moveVorgang, vorgangAnswer), In: moveVorgangBody{}, Out: vorgangView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/vorgaenge/{id}/reopen", ID: "reopenVorgang", DE: "Vorgang wieder öffnen", EN: "Reopen a Vorgang", Handle: explained(s.p.Akten.ReopenVorgang, vorgangAnswer), In: reasonBody{}, Out: vorgangView{}, IfMatch: true},
		{Method: "GET", Path: v1 + "/vorgaenge/{id}/dokumente", ID: "vorgangDokumente", DE: "Dokumente eines Vorgangs", EN: "Dokumente of a Vorgang", Handle: s.getVorgangDokumente, Query: paged, Out: list[dokumentView]{}},
		{Method: "GET", Path: v1 + "/vorgaenge/{id}/history", ID: "vorgangHistory", DE: "Verlauf eines Vorgangs mit seinen Dokumenten (format=text zum Lesen)", EN: "History of a Vorgang with its Dokumente (format=text to read)", Handle: s.getHistory, Query: with("format"), Out: list[historyView]{}},
		{Method: "GET", Path: v1 + "/akten/{id}/references", ID: "akteReferences", DE: "Verweise einer Akte auf anderes (incoming: von anderem)", EN: "References of an Akte to others (incoming: from others)", Handle: s.getReferences, Query: with("incoming"), Out: list[akte.Reference]{}},
		{Method: "POST", Path: v1 + "/akten/{id}/references", ID: "akteRefer", DE: "Verweisen statt kopieren", EN: "Refer instead of copying", Handle: s.postReference, In: referenceBody{}, Out: akte.Reference{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/vorgaenge/{id}/references", ID: "vorgangReferences", DE: "Verweise eines Vorgangs auf anderes (incoming: von anderem)", EN: "References of a Vorgang to others (incoming: from others)", Handle: s.getReferences, Query: with("incoming"), Out: list[akte.Reference]{}},
		{Method: "POST", Path: v1 + "/vorgaenge/{id}/references", ID: "vorgangRefer", DE: "Verweisen statt kopieren", EN: "Refer instead of copying", Handle: s.postReference, In: referenceBody{}, Out: akte.Reference{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/dokumente/{id}/references", ID: "dokumentReferences", DE: "Verweise eines Dokuments auf anderes (incoming: von anderem)", EN: "References of a Dokument to others (incoming: from others)", Handle: s.getReferences, Query: with("incoming"), Out: list[akte.Reference]{}},
		{Method: "POST", Path: v1 + "/dokumente/{id}/references", ID: "dokumentRefer", DE: "Verweisen statt kopieren", EN: "Refer instead of copying", Handle: s.postReference, In: referenceBody{}, Out: akte.Reference{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "DELETE", Path: v1 + "/references/{id}", ID: "removeReference", DE: "Verweis entfernen", EN: "Remove a reference", Handle: ended(s.p.Akten.RemoveReference), Status: http.StatusNoContent, IfMatch: true},
		{Method: "GET", Path: v1 + "/akten/{id}/contents", ID: "akteContents", DE: "Inhaltsverzeichnis einer Akte (JSON, csv, html)", EN: "Table of contents of an Akte (JSON, csv, html)", Handle: s.getContents, Query: []string{"format"}, Out: export.Table{}},
		{Method: "GET", Path: v1 + "/akten/{id}/export", ID: "exportAkte", DE: "Vollständige Ausgabe einer Akte (ZIP)", EN: "Complete export of an Akte (ZIP)", Handle: s.getAkteExport, Class: download, Query: []string{"seal", "annotations", "reason"}, OutType: "application/zip"},
		{Method: "GET", Path: v1 + "/number-patterns", ID: "numberPatterns", DE: "Nummernkreise, die ich hüte", EN: "Circles of numbers that I guard", Handle: s.getCircles, Query: paged, Out: list[akte.Circle]{}},
		{Method: "GET", Path: v1 + "/number-patterns/{id}/numbers", ID: "numbers", DE: "Register: vergeben, umgezogen, ungültig", EN: "Register: used, moved, void", Handle: s.getNumbers, Query: with("year", "void"), Out: list[akte.Given]{}},
		{Method: "GET", Path: v1 + "/number-patterns/{id}/gaps", ID: "numberGaps", DE: "Lücken eines Jahres und ihre Erklärung", EN: "Gaps of a year, explained", Handle: s.getGaps, Query: with("year"), Out: list[akte.Gap]{}},
		{Method: "POST", Path: v1 + "/number-patterns/{id}/void", ID: "voidNumber", DE: "Nummer für immer ungültig machen, mit Begründung (Registratur)", EN: "Make a number void for ever, with a reason (registry)", Handle: s.postVoid, In: voidBody{}, Out: akte.Given{}, Status: http.StatusCreated},
		// Postkörbe
		{Method: "GET", Path: v1 + "/postkoerbe", ID: "postkoerbe", DE: "Meine Postkörbe", EN: "My Postkörbe", Handle: s.getPostkoerbe, Query: paged, Out: list[postkorbView]{}},
		{Method: "GET", Path: v1 + "/postkoerbe/{id}", ID: "postkorb", DE: "Ein Postkorb", EN: "One Postkorb", Handle: one(s.p.Postkoerbe.Postkorb, postkorbAnswer), Out: postkorbView{}},
		{Method: "GET", Path: v1 + "/postkoerbe/{id}/items", ID: "items", DE: "Einträge eines Postkorbs", EN: "Items of a Postkorb", Handle: s.getItems, Query: with("state", "due_before"), Out: list[itemView]{}},
		{Method: "GET", Path: v1 + "/forward-targets", ID: "forwardTargets", DE: "Wohin weitergeleitet werden kann", EN: "Where one can forward to", Handle: s.getTargets, Query: paged, Out: list[postkorbView]{}},
		{Method: "GET", Path: v1 + "/sent", ID: "sent", DE: "Was ich weitergegeben habe", EN: "What I have sent on", Handle: s.getSent, Query: paged, Out: list[itemView]{}},
		{Method: "GET", Path: v1 + "/items/{id}", ID: "item", DE: "Ein Eintrag", EN: "One item", Handle: one(s.p.Postkoerbe.Item, itemAnswer), Out: itemView{}},
		{Method: "GET", Path: v1 + "/items/{id}/why", ID: "why", DE: "Warum es hier liegt", EN: "Why it is here", Handle: s.getWhy, Out: whyView{}},
		{Method: "PATCH", Path: v1 + "/items/{id}", ID: "changeItem", DE: "Frist setzen oder aufheben", EN: "Set or clear the deadline", Handle: changed(s.patchItem, itemAnswer), In: itemPatch{}, Out: itemView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/items/{id}/assign", ID: "assignItem", DE: "Einer Person zuweisen", EN: "Assign to a person", Handle: s.assignItem, In: assignBody{}, Out: itemView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/follow-ups", ID: "createFollowUp", DE: "Etwas auf Wiedervorlage legen", EN: "Let something come back on a date", Handle: s.postFollowUp, In: newFollowUpBody{}, Out: followUpView{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/follow-ups", ID: "followUps", DE: "Meine Wiedervorlagen", EN: "My follow-ups", Handle: s.getFollowUps, Query: paged, Out: list[followUpView]{}},
		{Method: "DELETE", Path: v1 + "/follow-ups/{id}", ID: "dropFollowUp", DE: "Wiedervorlage aufheben", EN: "Take a follow-up away", Handle: ended(p.DropFollowUp), Status: http.StatusNoContent, IfMatch: true},
		// Absence and leaving
		{Method: "POST", Path: v1 + "/substitutions", ID: "createSubstitution", DE: "Vertretung eintragen", EN: "Enter a substitution", Handle: s.postSubstitution, In: substitutionBody{}, Out: substitution.Substitution{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/substitutions", ID: "substitutions", DE: "Vertretungen", EN: "Substitutions", Handle: s.getSubstitutions, Query: []string{"all"}, Out: list[substitution.Substitution]{}},
		{Method: "GET", Path: v1 + "/substitutions/{id}", ID: "substitution", DE: "Eine Vertretung", EN: "One substitution", Handle: one(s.p.Deputies.ByID, substitutionAnswer), Out: substitution.Substitution{}},
		{Method: "DELETE", Path: v1 + "/substitutions/{id}", ID: "endSubstitution", DE: "Vertretung jetzt beenden", EN: "End a substitution now", Handle: ended(s.p.Deputies.End), Status: http.StatusNoContent, IfMatch: true},
		{Method: "GET", Path: v1 + "/users/{user}/open-work", ID: "openWork", DE: "Offene Arbeit einer Person", EN: "Open work of a person", Handle: s.getOpenWork, Out: openWorkView{}},
		{Method: "POST", Path: v1 + "/users/{user}/move-work", ID: "moveWork", DE: "Offene Arbeit an eine andere Person geben", EN: "Move open work to another person", Handle: s.postMoveWork, In: moveWorkBody{}, Out: movedWorkView{}},
		{Method: "POST", Path: v1 + "/users/{user}/disable", ID: "disableUser", DE: "Person oder Dienstkonto aussperren", EN: "Lock a user out", Handle: s.postDisable, Out: disabledView{}},
		{Method: "POST", Path: v1 + "/items/{id}/open", ID: "openItem", DE: "Öffnen", EN: "Open", Handle: act(p.Open), Out: itemView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/items/{id}/claim", ID: "claimItem", DE: "Übernehmen", EN: "Claim", Handle: act(p.Claim), Out: itemView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/items/{id}/forward", ID: "forwardItem", DE: "Weiterleiten", EN: "Forward", Handle: s.forwardItem, In: forwardBody{}, Out: itemView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/items/{id}/return", ID: "returnItem", DE: "Zurückgeben, mit Begründung", EN: "Return, with a reason", Handle: changed(s.returnItem, itemAnswer), In: reasonBody{}, Out: itemView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/items/{id}/follow-up", ID: "followUpItem", DE: "Auf Wiedervorlage legen", EN: "Set a follow-up", Handle: s.followUpItem, In: followUpBody{}, Out: putAwayView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/items/{id}/done", ID: "doneItem", DE: "Erledigen", EN: "Done", Handle: changed(s.doneItem, itemAnswer), In: doneBody{}, Out: itemView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/items/{id}/undo", ID: "undoItem", DE: "Rückgängig machen", EN: "Undo", Handle: act(p.Undo), Out: itemView{}, IfMatch: true},
		// Rules
		{Method: "GET", Path: v1 + "/rules", ID: "rules", DE: "Regelwerke in Kraft", EN: "Rule sets in force", Handle: s.getRuleSets, Out: list[ruleSetView]{}},
		{Method: "POST", Path: v1 + "/rules/check", ID: "checkRules", DE: "Regelwerk prüfen, ohne es zu behalten", EN: "Check a rule set without keeping it", Handle: s.postRuleCheck, In: rules.Set{}, Out: ruleCheckView{}},
		{Method: "GET", Path: v1 + "/rules/report", ID: "routingReport", DE: "Treffer und Abdeckung der Verteilung je Tag", EN: "Precision and coverage of routing by day", Handle: s.getRoutingReport, Query: []string{"from", "to"}, Out: routingReportView{}},
		{Method: "GET", Path: v1 + "/rules/drafts", ID: "ruleDrafts", DE: "Entwürfe", EN: "Drafts", Handle: s.getRuleDrafts, Out: list[ruleSetView]{}},
		{Method: "POST", Path: v1 + "/rules/drafts", ID: "createRuleDraft", DE: "Regelwerk entwerfen", EN: "Draft a rule set", Handle: s.postRuleDraft, In: rules.Set{}, Out: ruleSetView{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/rules/drafts/{id}", ID: "ruleDraft", DE: "Eine Fassung eines Regelwerks", EN: "One version of a rule set", Handle: one(s.p.Rules.Version, ruleSetAnswer), Out: ruleSetView{}},
		{Method: "POST", Path: v1 + "/rules/drafts/{id}/check", ID: "checkRuleDraft", DE: "Prüfen", EN: "Check", Handle: one(s.p.Rules.Check, ruleSetAnswer), Out: ruleSetView{}},
		{Method: "POST", Path: v1 + "/rules/drafts/{id}/rehearse", ID: "rehearseRuleDraft", DE: "An vergangener Post proben; nichts wird geändert", EN: "Rehearse on past mail; nothing is changed", Handle: s.rehearseRules, Class: download, In: rehearseBody{}, Out: rehearsalView{}},
		{Method: "POST", Path: v1 + "/rules/drafts/{id}/activate", ID: "activateRuleDraft", DE: "In Kraft setzen, als zweite Person", EN: "Put in force, as second person", Handle: one(s.p.Rules.Activate, ruleSetAnswer), Out: ruleSetView{}},
		{Method: "GET", Path: v1 + "/rules/{name}/versions", ID: "ruleVersions", DE: "Fassungen eines Regelwerks", EN: "Versions of a rule set", Handle: s.getRuleVersions, Out: list[ruleSetView]{}},
		{Method: "POST", Path: v1 + "/rules/{name}/rollback", ID: "rollbackRules", DE: "Frühere Fassung wieder in Kraft setzen", EN: "Put an earlier version in force again", Handle: s.rollbackRules, In: rollbackBody{}, Out: ruleSetView{}},
		{Method: "POST", Path: v1 + "/rules/{name}/retire", ID: "retireRules", DE: "Außer Kraft setzen, mit Begründung", EN: "Put out of force, with a reason", Handle: s.retireRules, In: reasonBody{}, Out: ruleSetView{}},
		// Circulations
		{Method: "POST", Path: v1 + "/circulations", ID: "createCirculation", DE: "Laufweg beginnen", EN: "Start a circulation", Handle: s.postCirculation, In: circulationBody{}, Out: circulationView{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/circulations/{id}", ID: "circulation", DE: "Ein Laufweg", EN: "One circulation", Handle: one(s.p.Circulations.Circulation, circulationAnswer), Out: circulationView{}},
		{Method: "GET", Path: v1 + "/dokumente/{id}/circulations", ID: "dokumentCirculations", DE: "Laufwege eines Dokuments", EN: "Circulations of a Dokument", Handle: s.getDokumentCirculations, Out: list[circulationView]{}},
		{Method: "GET", Path: v1 + "/vorgaenge/{id}/circulations", ID: "vorgangCirculations", DE: "Laufwege eines Vorgangs", EN: "Circulations of a Vorgang", Handle: s.getVorgangCirculations, Out: list[circulationView]{}},
		{Method: "POST", Path: v1 + "/circulations/{id}/steps", ID: "addStep", DE: "Station hinzufügen", EN: "Add a station", Handle: changed(s.addStep, circulationAnswer), In: stepBody{}, Out: circulationView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/circulations/{id}/steps/{n:[0-9]+}/complete", ID: "completeStep", DE: "Station abschließen", EN: "Complete a station", Handle: onStep(s.completeStep), In: completeBody{}, Out: circulationView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/circulations/{id}/steps/{n:[0-9]+}/skip", ID: "skipStep", DE: "Station überspringen, mit Begründung", EN: "Skip a station, with a reason", Handle: onStep(s.skipStep), In: reasonBody{}, Out: circulationView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/circulations/{id}/recall", ID: "recallCirculation", DE: "Laufweg zurückholen, mit Begründung", EN: "Recall a circulation, with a reason", Handle: explained(s.p.Circulations.Recall, circulationAnswer), In: reasonBody{}, Out: circulationView{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/circulations/{id}/uphold", ID: "upholdAgreements", DE: "Mitzeichnungen über eine neue Version aufrechterhalten, mit Begründung", EN: "Uphold agreements over a new version, with a reason", Handle: changed(s.upholdAgreements, circulationAnswer), In: upholdBody{}, Out: circulationView{}, IfMatch: true},
		{Method: "GET", Path: v1 + "/units/{unit}/circulation-settings", ID: "circulationSettings", DE: "Was eine Einheit zu Laufwegen festlegt", EN: "What a unit decides about circulations", Handle: s.getCirculationSettings, Out: circulationSettingsView{}},
		{Method: "PUT", Path: v1 + "/units/{unit}/circulation-settings", ID: "setCirculationSettings", DE: "Festlegen, was für Laufwege gilt", EN: "Decide about circulations", Handle: s.putCirculationSettings, In: circulationSettingsBody{}, Out: circulationSettingsView{}, IfMatch: true},
		// Processes
		{Method: "POST", Path: v1 + "/processes", ID: "createProcess", DE: "BPMN-Datei hinterlegen (Rumpf oder Formularteil file)", EN: "Store a BPMN file (body, or the part file of a form)", Handle: s.postProcess, Class: upload, InType: "application/xml", Out: definitionView{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "GET", Path: v1 + "/processes", ID: "processes", DE: "Prozessmodelle", EN: "Process definitions", Handle: s.getProcesses, Query: paged, Out: list[definitionView]{}},
		{Method: "GET", Path: v1 + "/processes/{id}", ID: "process", DE: "Ein Prozessmodell", EN: "One process definition", Handle: one(s.p.Processes.Definition, definitionAnswer), Out: definitionView{}},
		{Method: "GET", Path: v1 + "/processes/{id}/file", ID: "processFile", DE: "Die BPMN-Datei, wie sie kam", EN: "The BPMN file as it came", Handle: s.getProcessFile, Class: download, OutType: "application/xml"},
		{Method: "POST", Path: v1 + "/processes/{id}/activate", ID: "activateProcess", DE: "Prozess aktivieren: Stellen und Bedingungen", EN: "Activate a process: stations and conditions", Handle: s.activateProcess, In: activationBody{}, Out: definitionView{}},
		{Method: "GET", Path: v1 + "/processes/{id}/instances", ID: "processInstances", DE: "Läufe eines Prozesses", EN: "Instances of a process", Handle: s.getInstances, Query: with("state"), Out: list[process.Instance]{}},
		{Method: "POST", Path: v1 + "/processes/{id}/instances", ID: "startProcess", DE: "Prozess für einen Vorgang beginnen", EN: "Start a process for a Vorgang", Handle: s.postInstance, In: instanceBody{}, Out: process.Instance{}, Status: http.StatusCreated, Key: keyOptional},
		{Method: "POST", Path: v1 + "/processes/{id}/migrate", ID: "migrateInstances", DE: "Alle Läufe auf eine andere Version bringen", EN: "Move all instances to another version", Handle: s.migrateInstances, Class: upload, In: bulkBody{}, Out: process.MigrationReport{}},
		{Method: "GET", Path: v1 + "/vorgaenge/{id}/process-instances", ID: "vorgangInstances", DE: "Prozesse eines Vorgangs", EN: "Processes of a Vorgang", Handle: s.getVorgangInstances, Out: list[process.Instance]{}},
		{Method: "GET", Path: v1 + "/process-instances/{id}", ID: "instance", DE: "Ein Lauf: wo er steht und was geschah", EN: "One instance: where it stands and what was done", Handle: one(s.p.Processes.Instance, instanceAnswer), Out: process.Instance{}},
		{Method: "POST", Path: v1 + "/process-instances/{id}/retry", ID: "retryInstance", DE: "Fehlgeschlagene Schritte erneut versuchen", EN: "Try failed steps again", Handle: changed(s.retryInstance, instanceAnswer), In: retryBody{}, Out: process.Instance{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/process-instances/{id}/messages", ID: "postMessage", DE: "Nachricht an einen wartenden Lauf", EN: "A message to a waiting instance", Handle: s.postMessage, In: messageBody{}, Out: process.Instance{}},
		{Method: "POST", Path: v1 + "/process-instances/{id}/cancel", ID: "cancelInstance", DE: "Lauf abbrechen, mit Begründung", EN: "Cancel an instance, with a reason", Handle: explained(s.p.Processes.Cancel, instanceAnswer), In: reasonBody{}, Out: process.Instance{}, IfMatch: true},
		{Method: "POST", Path: v1 + "/process-instances/{id}/migrate", ID: "migrateInstance", DE: "Lauf auf eine andere Version bringen", EN: "Move an instance to another version", Handle: changed(s.migrateInstance, instanceAnswer), In: migrationBody{}, Out: process.Instance{}, IfMatch: true},
		// Search
		{Method: "GET", Path: v1 + "/search", ID: "search", DE: "Suchen", EN: "Search", Handle: s.getSearch, Off: s.p.Find == nil, Query: with("q", "document_type", "unit", "year", "aktenzeichen", "state", "akte_id", "vorgang_id", "sort", "exact"), Out: find.Page{}},
		{Method: "GET", Path: v1 + "/suggest", ID: "suggest", DE: "Vorschläge beim Tippen", EN: "Suggestions", Handle: s.getSuggest, Off: s.p.Find == nil, Query: []string{"q", "n"}, Out: suggestView{}},
		// Evidence, auditors, operators
		{Method: "GET", Path: v1 + "/export", ID: "export", DE: "Nachweispaket (tar)", EN: "Evidence package (tar)", Handle: s.getExport, Class: download, Query: []string{"dokument", "vorgang", "akte", "seal", "annotations", "format", "reason"}, OutType: "application/x-tar"},
		{Method: "GET", Path: v1 + "/seals", ID: "seals", DE: "Siegel", EN: "Seals", Handle: s.getSeals, Query: with("count"), Out: list[sealView]{}},
		{Method: "POST", Path: v1 + "/seals", ID: "sealNow", DE: "Jetzt versiegeln", EN: "Seal now", Handle: s.postSeal, Class: download, Out: sealReportView{}},
		{Method: "GET", Path: v1 + "/seals/status", ID: "sealStatus", DE: "Worauf die Nachweise beruhen", EN: "What the evidence rests on", Handle: s.getSealStatus, Out: sealStatusView{}},
		{Method: "GET", Path: v1 + "/seals/{id}", ID: "seal", DE: "Ein Siegel", EN: "One seal", Handle: one(s.p.Preservation.Seal, sealAnswer), Out: sealView{}},
		{Method: "POST", Path: v1 + "/renewals", ID: "renew", DE: "Nachweise erneuern oder eine angehaltene Erneuerung fortsetzen", EN: "Renew evidence, or go on with a stopped renewal", Handle: s.postRenewal, In: renewalBody{}, Out: list[renewalView]{}, Status: http.StatusAccepted},
		{Method: "GET", Path: v1 + "/renewals", ID: "renewals", DE: "Erneuerungen", EN: "Renewals", Handle: s.getRenewals, Query: paged, Out: list[renewalView]{}},
		{Method: "GET", Path: v1 + "/renewals/{id}", ID: "renewal", DE: "Eine Erneuerung", EN: "One renewal", Handle: one(s.p.Preservation.Renewal, renewalAnswer), Out: renewalView{}},
		{Method: "POST", Path: v1 + "/renewals/{id}/stop", ID: "stopRenewal", DE: "Erneuerung anhalten", EN: "Stop a renewal", Handle: one(s.p.Preservation.StopRenewal, renewalAnswer), Out: renewalView{}},
		{Method: "GET", Path: v1 + "/audit", ID: "audit", DE: "Protokoll", EN: "Log", Handle: s.getAudit, Query: with("stream", "kind", "record", "subject", "actor", "from", "to", "request_id", "count"), Out: list[audit.Entry]{}},
		{Method: "GET", Path: v1 + "/audit/export", ID: "auditExport", DE: "Protokoll als CSV oder JSON", EN: "Log as CSV or JSON", Handle: s.getAuditExport, Class: download, Query: []string{"stream", "kind", "record", "subject", "actor", "from", "to", "request_id", "format"}, OutType: "text/csv"},
		{Method: "GET", Path: v1 + "/audit/verify", ID: "auditVerify", DE: "Protokoll nachrechnen", EN: "Verify the log", Handle: s.getAuditVerify, Class: download, Out: audit.Report{}},
		{Method: "POST", Path: v1 + "/check", ID: "check", DE: "Datenbank, Speicher und Index vergleichen", EN: "Compare database, storage and index", Handle: s.postCheck, Class: download, Out: CheckReport{}},
		{Method: "GET", Path: v1 + "/index", ID: "index", DE: "Stand des Suchindexes", EN: "State of the search index", Handle: s.getIndex, Off: s.p.Index == nil, Out: indexing.State{}},
		{Method: "POST", Path: v1 + "/index/rebuild", ID: "rebuildIndex", DE: "Suchindex neu aufbauen", EN: "Rebuild the search index", Handle: s.postRebuild, Off: s.p.Index == nil, Out: indexing.State{}, Status: http.StatusAccepted},
	}, s.pages())
}

// operation is what every process answers that has an address at all.
func (s *Server) operation() []route {
	return []route{
		{Method: "GET", Path: "/healthz", ID: "health", DE: "Lebenszeichen und Teile des Programms", EN: "Sign of life and parts of the program", Handle: s.getHealth, Open: true, Out: healthView{}},
		{Method: "GET", Path: "/readyz", ID: "ready", DE: "Bereit für Anfragen", EN: "Ready for requests", Handle: s.getReady, Open: true, Out: healthView{}},
		{Method: "GET", Path: "/metrics", ID: "metrics", DE: "Messwerte (Prometheus)", EN: "Metrics (Prometheus)", Handle: s.getMetrics, Open: true, OutType: "text/plain"},
	}
}

// pages are the addresses for people with a browser.
func (s *Server) pages() []route {
	return []route{
		{Method: "GET", Path: "/problems/", Open: true, Page: true, Handle: s.problemPage},
		{Method: "GET", Path: "/problems/{code}", Open: true, Page: true, Handle: s.problemPage},
		{Method: "GET", Path: "/login", Login: true, Page: true, Handle: s.loginPage},
		{Method: "POST", Path: "/login", Login: true, Page: true, Handle: s.postLoginForm},
		{Method: "POST", Path: "/logout", Login: true, Page: true, Handle: s.postLogoutForm},
		{Method: "GET", Path: "/", Page: true, Handle: s.ui.Start},
		{Method: "GET", Path: "/postkoerbe/{id}", Page: true, Handle: s.withID(s.ui.Postkorb)},
		{Method: "POST", Path: "/items/{id}/open", Page: true, Handle: s.withID(s.ui.OpenItem)},
		{Method: "POST", Path: "/items/{id}/{act}", Page: true, Handle: s.withAct(s.ui.Act)},
		{Method: "GET", Path: "/dokumente/{id}", Page: true, Handle: s.withID(s.ui.Dokument)},
		{Method: "POST", Path: "/dokumente/{id}/file", Page: true, Handle: s.withID(s.ui.File)},
		{Method: "GET", Path: "/suche", Page: true, Handle: s.ui.Search},
	}
}

func (s *Server) problemPage(w http.ResponseWriter, r *http.Request) error {
	if !problem.Page(w, pathVar(r, "code")) {
		return fault.New("route-not-found")
	}
	return nil
}

func (s *Server) withID(page func(http.ResponseWriter, *http.Request, uuid.UUID) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r)
		if err != nil {
			return err
		}
		return page(w, r, id)
	}
}

func (s *Server) withAct(page func(http.ResponseWriter, *http.Request, uuid.UUID, string) error) func(http.ResponseWriter, *http.Request) error {
	return s.withID(func(w http.ResponseWriter, r *http.Request, id uuid.UUID) error {
		return page(w, r, id, pathVar(r, "act"))
	})
}
