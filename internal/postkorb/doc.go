// Package postkorb is what people have on their desks: Postkörbe, their members
// and their items.
//
// An item points to a record object, never the other way round, and is in
// exactly one place per addressee: the index postkorb_item_once allows one
// unfinished item per Postkorb and object.
//
//	open -> claimed -> done | returned
//	  |  <-   |
//	  +----> waiting -> open      follow-up: comes back on its date
//
// Forwarding and returning end the item and make a new one elsewhere, whose
// previous_id is the old one; undo takes that back until the other side has
// opened the new one. claimed_by of a finished item is who finished it.
//
// Members of a Postkorb see the lines of all its items. An item that is
// assigned to a person gives the content to that person alone: the others see
// the line, not the act (decisions 1.4). Whoever may read the whole tenant sees
// the lines of every Postkorb, and acts on none.
package postkorb
