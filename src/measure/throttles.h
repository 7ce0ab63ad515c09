// How fast this process may read from disks, where control groups limit it.
#pragma once

enum { THROTTLES_BYTES = 2048 };

// The limits on reading that its groups name, as the kernel writes them: "254:0 104857600" of
// version 1, "254:0 rbps=104857600 .." of version 2; "": there are none.
void throttles_read(char out[THROTTLES_BYTES]);
