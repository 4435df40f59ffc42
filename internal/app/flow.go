package app

import (
	"evb/internal/akte"
	"evb/internal/circulation"
	"evb/internal/event"
	"evb/internal/extract"
	"evb/internal/preservation"
	"evb/internal/process"
	"evb/internal/routing"
	"evb/internal/scan"
)

// flow is the whole flow on one page: which jobs follow from which fact. They
// are enqueued in the transaction that states the fact. Subjects are those of
// the facts: a version for extraction, a Dokument for the rest. The search
// index has no line: it follows the feed.
var flow = event.Flow{
	scan.BatchSubmitted: {scan.Process},

	akte.DokumentReceived:     {extract.Text},
	akte.DokumentReleased:     {extract.Text},
	akte.DokumentVersionAdded: {extract.Text},
	extract.VersionHard:       {extract.TextHard},

	akte.DokumentExtracted:        {routing.Decide, preservation.Collect, process.JobArrived},
	akte.DokumentExtractionFailed: {routing.Decide, preservation.Collect, process.JobArrived},
	routing.DokumentRouted:        {preservation.Collect},
	akte.DokumentFiled:            {preservation.Collect, process.JobArrived},
	akte.DokumentMoved:            {preservation.Collect, process.JobArrived},
	akte.DokumentChanged:          {process.JobArrived},
	akte.VorgangClosed:            {preservation.Collect},
	akte.AkteClosed:               {preservation.Collect},
	circulation.StepAgreed:        {preservation.Collect},
	circulation.FinalSigned:       {preservation.Collect},
	circulation.AgreementUpheld:   {preservation.Collect},
	preservation.SealClosed:       {preservation.Stamp},
	preservation.RenewalPlanned:   {preservation.Renew},
	preservation.RenewalResumed:   {preservation.Renew},
}
