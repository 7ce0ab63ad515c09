// The last passes round the ring as a Chrome trace: JSON that Perfetto (ui.perfetto.dev) and
// about:tracing open.
//
// Every node is a process in the order of the ring, and its compute loop is a thread with a slice
// for each window. What links do may overlap, so receiving and sending are asynchronous slices, and
// so are the passes themselves, on the head's process. Times are microseconds since the first pass
// was taken up, by the head's clock.
#pragma once

#include "cluster/timings.h"
#include "plan/windows.h"

#include <stdio.h>

// `names` (n_nodes). Whether it could be written is for the caller to see by ferror.
void trace_write(FILE *out, const struct timings_trace *t, const struct window_table *table,
                 const char (*names)[WIRE_NAME]);
