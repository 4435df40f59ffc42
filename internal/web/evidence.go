package web

import (
	"net/http"
	"strconv"
	"time"

	"evb/internal/audit"
	"evb/internal/event"
	"evb/internal/export"
	"evb/internal/fault"
	"evb/internal/preservation"
)

func (s *Server) getEvidenceRecord(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	version, err := queryID(r, "archive_version")
	if err != nil {
		return err
	}
	der, err := s.p.Preservation.Record(r.Context(), actorOf(r), id, version)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+id.String()+`.er"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(der)))
	_, err = w.Write(der)
	return err
}

// numbered reads the page of a list that runs down by number: what lies below it,
// 0 from the newest, and how many.
func numbered(r *http.Request) (below, limit int, err error) {
	cursor, limit, err := page(r)
	if err != nil || cursor == "" {
		return 0, limit, err
	}
	if below, err = strconv.Atoi(cursor); err != nil || below < 1 {
		return 0, 0, fault.New("parameter-invalid", "name", "cursor", "value", cursor)
	}
	return below, limit, nil
}

func (s *Server) getSeals(w http.ResponseWriter, r *http.Request) error {
	below, limit, err := numbered(r)
	if err != nil {
		return err
	}
	seals, err := s.p.Preservation.Seals(r.Context(), actorOf(r), below, limit)
	if err != nil {
		return err
	}
	next := ""
	if len(seals) == limit {
		next = strconv.Itoa(seals[limit-1].Number)
	}
	total, err := countedOn(r, func() (int64, error) { return s.p.Preservation.SealCount(r.Context(), actorOf(r)) })
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(seals, newSealView, next, total))
}

func evidenceAnswer(w http.ResponseWriter, e preservation.Evidence) error {
	return writeJSON(w, http.StatusOK, newEvidenceView(e))
}

func sealAnswer(w http.ResponseWriter, seal preservation.SealInfo) error {
	return writeJSON(w, http.StatusOK, newSealView(seal))
}

type sealReportView struct {
	Seals           []sealView `json:"seals"`
	Documents       int        `json:"documents"`
	ArchiveVersions int        `json:"archive_versions"`
	Waiting         bool       `json:"waiting"`
	Until           *time.Time `json:"until"`
}

// postSeal seals what is open and answers when it is sealed (decisions 5.6).
func (s *Server) postSeal(w http.ResponseWriter, r *http.Request) error {
	report, err := s.p.Preservation.SealNow(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, sealReportView{
		Seals: mapped(report.Seals, newSealView), Documents: report.Documents, ArchiveVersions: report.ArchiveVersions,
		Waiting: report.Waiting, Until: timeOrNil(report.Until),
	})
}

type sealStatusView struct {
	Policy     string             `json:"policy"`
	At         time.Time          `json:"at"`
	Open       int                `json:"open"`
	Oldest     *time.Time         `json:"oldest"`
	NextClose  *time.Time         `json:"next_close"`
	InIntake   int                `json:"in_intake"`
	Unpacked   int                `json:"unpacked"`
	Algorithms []algorithmUseView `json:"algorithms"`
	Unfinished []sealView         `json:"unfinished"`
	LastSeal   *sealView          `json:"last_seal"`
	Heads      []headView         `json:"heads"`
	Renewals   []renewalView      `json:"renewals"`
	Gaps       []gapView          `json:"gaps"`
	GapCount   int                `json:"gap_count"`
}

type algorithmUseView struct {
	Hash             string     `json:"hash"`
	Signature        string     `json:"signature"`
	TSA              string     `json:"tsa"`
	Signer           string     `json:"signer"`
	KeyBits          int        `json:"key_bits"`
	Seals            int        `json:"seals"`
	Documents        int        `json:"documents"`
	Leaves           int        `json:"leaves"`
	HashUntil        *time.Time `json:"hash_until"`
	SignatureUntil   *time.Time `json:"signature_until"`
	CertificateUntil *time.Time `json:"certificate_until"`
	Until            *time.Time `json:"until"`
	RenewBefore      *time.Time `json:"renew_before"`
	// Action is the renewal that is needed before.
	Action preservation.RenewalKind `json:"action"`
	Due    bool                     `json:"due"`
	// Lapsed says what has ended without a renewal.
	Lapsed string `json:"lapsed"`
}

type headView struct {
	Stream    event.Stream `json:"stream"`
	Seq       int64        `json:"seq"`
	WrittenAt time.Time    `json:"written_at"`
	OpenTail  int64        `json:"open_tail"`
}

func (s *Server) getSealStatus(w http.ResponseWriter, r *http.Request) error {
	st, err := s.p.Preservation.Status(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	v := sealStatusView{
		Policy: st.Policy, At: st.At, Open: st.Open, Oldest: timeOrNil(st.Oldest), NextClose: timeOrNil(st.NextClose), InIntake: st.InIntake,
		Unpacked: st.Unpacked, Unfinished: mapped(st.Unfinished, newSealView),
		Algorithms: mapped(st.Seals, func(u preservation.AlgorithmUse) algorithmUseView {
			return algorithmUseView{
				Hash: string(u.Hash), Signature: u.Signature, TSA: u.TSA, Signer: u.Signer, Seals: u.Seals, Leaves: u.Leaves, HashUntil: timeOrNil(u.HashUntil),
				SignatureUntil: timeOrNil(u.SignatureUntil), CertificateUntil: timeOrNil(u.CertificateUntil), RenewBefore: timeOrNil(u.RenewBefore),
				KeyBits: u.KeyBits, Documents: u.Documents, Until: timeOrNil(u.Until), Action: u.Action, Due: u.Due, Lapsed: u.Lapsed,
			}
		}),
		Heads: mapped(st.Heads, func(h preservation.HeadInfo) headView {
			return headView{Stream: h.Stream, Seq: h.Seq, WrittenAt: h.WrittenAt.UTC(), OpenTail: h.Tail}
		}),
		Renewals: mapped(st.Renewals, newRenewalView), Gaps: mapped(st.Gaps, newGapView), GapCount: st.GapCount,
	}
	if st.LastSeal != nil {
		last := newSealView(*st.LastSeal)
		v.LastSeal = &last
	}
	return writeJSON(w, http.StatusOK, v)
}

// getExport answers the evidence package as a tar stream. It is complete on
// disk before the first byte is sent, so that an error is a problem and not
// half a file.
func (s *Server) getExport(w http.ResponseWriter, r *http.Request) error {
	if f := r.URL.Query().Get("format"); f != "" && f != "package" {
		return fault.New("parameter-invalid", "name", "format", "value", f)
	}
	var q export.Request
	var err error
	if q.Dokument, err = queryID(r, "dokument"); err != nil {
		return err
	}
	if q.Vorgang, err = queryID(r, "vorgang"); err != nil {
		return err
	}
	if q.Akte, err = queryID(r, "akte"); err != nil {
		return err
	}
	if q.Seal, err = queryBool(r, "seal"); err != nil {
		return err
	}
	if q.WithoutAnnotations, err = withoutAnnotations(r); err != nil {
		return err
	}
	q.Reason = r.URL.Query().Get("reason")
	p, err := s.p.Export.Prepare(r.Context(), actorOf(r), q)
	if err != nil {
		return err
	}
	defer func() {
		if err := p.Close(); err != nil {
			s.log.WarnContext(r.Context(), "export package left behind", "err", err)
		}
	}()
	h := w.Header()
	h.Set("Content-Type", "application/x-tar")
	h.Set("Content-Disposition", `attachment; filename="`+p.Report.Name+`.tar"`)
	h.Set("Evb-Pending", strconv.Itoa(p.Report.Pending))
	h.Set("Evb-Records", strconv.Itoa(p.Report.Records))
	h.Set("Evb-Package", p.Report.ID.String())
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return p.WriteTar(r.Context(), w)
}

// auditFilter reads the filter of the log.
func auditFilter(r *http.Request) (f audit.Filter, err error) {
	q := r.URL.Query()
	f = audit.Filter{Kind: q.Get("kind"), Actor: q.Get("actor"), RequestID: q.Get("request_id")}
	if f.Stream, err = queryOneOf(r, "stream", event.Events, event.Access); err != nil {
		return
	}
	if f.Record, err = queryID(r, "record"); err != nil {
		return
	}
	if f.Subject, err = queryID(r, "subject"); err != nil {
		return
	}
	if f.From, err = queryTime(r, "from"); err != nil {
		return
	}
	f.To, err = queryTime(r, "to")
	return
}

func (s *Server) getAudit(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	f, err := auditFilter(r)
	if err != nil {
		return err
	}
	p, err := s.p.Audit.List(r.Context(), actorOf(r), f, cursor, limit)
	if err != nil {
		return err
	}
	total, err := countedOn(r, func() (int64, error) { return s.p.Audit.Count(r.Context(), actorOf(r), f) })
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, func(e audit.Entry) audit.Entry { return e }, p.NextCursor, total))
}

// getAuditExport writes the whole selection as CSV or JSON.
func (s *Server) getAuditExport(w http.ResponseWriter, r *http.Request) error {
	f, err := auditFilter(r)
	if err != nil {
		return err
	}
	format, media := audit.CSV, "text/csv; charset=utf-8"
	switch v := r.URL.Query().Get("format"); v {
	case "", "csv":
	case "json":
		format, media = audit.JSON, "application/json"
	default:
		return fault.New("parameter-invalid", "name", "format", "value", v)
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Disposition", `attachment; filename="protokoll.`+string(format)+`"`)
	_, err = s.p.Audit.Export(r.Context(), actorOf(r), f, format, w)
	return err
}

// getAuditVerify recomputes the whole log.
func (s *Server) getAuditVerify(w http.ResponseWriter, r *http.Request) error {
	report, err := s.p.Audit.Verify(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, report)
}
