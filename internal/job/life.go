package job

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockClass of the sign of life; event and preservation have "evb".
const lockClass int32 = 0x6a6f62 // "job"

// A process that works holds an advisory lock on its name for as long as it
// lives, on a connection of its own: Postgres lets go of it with the process.
// hashtext may bring two names together; then the jobs of a dead one wait for
// River's own rescue, ten minutes.
const (
	sqlSign = `SELECT pg_advisory_lock_shared($1, hashtext($2))`
	sqlGone = `
    SELECT DISTINCT node FROM (SELECT attempted_by[array_upper(attempted_by, 1)] AS node FROM river_job WHERE state = 'running') r
    WHERE node IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.classid = $1::int::oid AND l.objid = (hashtext(node)::bigint & 4294967295)::oid AND l.objsubid = 2)`
	sqlReclaim = `
    UPDATE river_job SET state = 'available', scheduled_at = now()
    WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1`
)

// sign connects and gives the sign of life.
func (c *Client) sign(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, c.db.Pool().Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, sqlSign, lockClass, c.node); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// live keeps the sign up until ctx ends and takes jobs back from processes that
// are gone. One whose connection broke has Options.Gone to come back.
func (c *Client) live(ctx context.Context, conn *pgx.Conn) {
	defer func() {
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	missed := map[string]time.Time{}
	timer := time.NewTicker(min(c.gone/3, 5*time.Second))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		look, cancel := context.WithTimeout(ctx, 10*time.Second)
		var err error
		if conn == nil {
			conn, err = c.sign(look)
			clear(missed) // what was not seen meanwhile may be our own blindness
		}
		if err == nil {
			err = c.takeBack(look, conn, missed)
		}
		cancel()
		if err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "no sign of life to the database", "err", err)
			if conn != nil {
				_ = conn.Close(context.WithoutCancel(ctx))
				conn = nil
			}
		}
	}
}

// takeBack looks who is gone; missed is since when.
func (c *Client) takeBack(ctx context.Context, conn *pgx.Conn, missed map[string]time.Time) error {
	rows, err := conn.Query(ctx, sqlGone, lockClass)
	if err != nil {
		return fmt.Errorf("processes that are gone: %w", err)
	}
	gone, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("processes that are gone: %w", err)
	}
	maps.DeleteFunc(missed, func(node string, _ time.Time) bool { return !slices.Contains(gone, node) })
	for _, node := range gone {
		since, known := missed[node]
		if !known {
			missed[node] = time.Now()
			continue
		}
		if time.Since(since) < c.gone {
			continue
		}
		if err := c.reclaim(ctx, node); err != nil {
			return err
		}
		delete(missed, node)
	}
	return nil
}

// reclaim makes the jobs available that a process that is gone was working on.
func (c *Client) reclaim(ctx context.Context, node string) error {
	tag, err := c.db.Pool().Exec(ctx, sqlReclaim, node)
	if err == nil && tag.RowsAffected() > 0 {
		c.log.InfoContext(ctx, "jobs of a process that is gone go on", "node", node, "jobs", tag.RowsAffected())
	}
	return err
}
