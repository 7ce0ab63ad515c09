// The files of a model mapped into memory: where the rows of each piece lie, as they are on disk.
//
// A mapping takes no memory of its own: its pages are the page cache's, read when they are touched
// and dropped when the system wants them back. A file that is cut short or cannot be read while it
// is mapped reads as zeros (disk/mapped.h): whoever used rows asks mapping_check before he believes
// what came of them. Threads: opening and freeing belong to one thread,
// everything else to any.
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stdint.h>

struct mapping;

// All files of `g`, which must outlive the mapping.
int mapping_open(struct mapping **out, const struct gguf *g, struct err *e);
void mapping_free(struct mapping *m);

// The bytes of a piece, as they are in the file. Fixed until the mapping is freed.
const uint8_t *mapping_rows(const struct mapping *m, uint32_t piece);

// After a pass: 0, or which file was cut short, changed or could not be read since it was opened,
// in one sentence; what was computed since the last check means nothing then, and the mapping is of
// no use any more.
int mapping_check(const struct mapping *m, struct err *e);

// Gives advice (madvise) about the pages of a piece. Only a hint: a system that does not take it
// does as it always does. Pages that the piece shares with its neighbours are theirs, too: `whole`
// leaves them out.
void mapping_advise(const struct mapping *m, uint32_t piece, int advice, bool whole);

// `piece` comes into use: has the system start to read what comes after it (weights/prefetch.h).
struct prefetch;
void mapping_prefetch(const struct mapping *m, struct prefetch *p, uint32_t piece);
