// Sockets between programs of one user on one machine: names in a folder that is open, whatever its
// path and however long.
#pragma once

// A listening socket, non-blocking, that its owner alone may dial; the name must be free. -1:
// errno.
int net_local_listen(int folder, const char *name, int backlog);
// A blocking connection whose reads and writes give up after timeout_ms. -1: errno; ECONNREFUSED:
// the name belongs to nobody any more.
int net_local_connect(int folder, const char *name, int timeout_ms);
