// Package job is the work queue. It hides River: no other package imports it.
//
// A job names a tenant and one subject id and carries no data; it runs at
// least once and must be safe to repeat. The state of the work itself stands
// in the tables of the package that owns it: River only wakes a worker, and
// forgets jobs that are done. Therefore each Definition may say how to find
// its open work (Open); the reconciler enqueues what has no live job, so work
// survives even a lost queue.
package job
