// What runs here, asked by another program of the same user: every head listens on a Unix socket
// head-PID.sock, and whoever connects gets one JSON document and the end of the stream.
//
// The sockets are in $XDG_RUNTIME_DIR/rondo, and where that is not set, or RONDO_STATE is, in the
// state folder (cluster/identity.h); mode 0600 in a folder that is the user's alone. What a head
// that was killed left behind refuses to be connected to, and is removed by whoever notices.
//
// Threads: one for each socket, outside the allocation guard. It serves one client at a time and
// drops those that do not read.
#pragma once

#include "base/err.h"

#include <jansson.h>

enum {
    STATUS_CLIENT_MS = 1000,     // that a client may take to read what it asked for
    STATUS_HEAD_MS = 5000,       // that a head may take to answer
    STATUS_MAX_BYTES = 16 << 20, // of a document
    STATUS_MAX_HEADS = 64,
};

struct status_socket;

// `document` makes what the client gets, on the socket's thread; NULL: nothing. It must not block.
int status_socket_open(struct status_socket **out, json_t *(*document)(void *ctx), void *ctx,
                       struct err *e);
void status_socket_close(struct status_socket *s); // `document` runs no more; NULL is allowed

// The documents of all heads of this user on this machine: an array, perhaps empty; to be freed
// with json_decref. What a head that hangs or talks nonsense would have said is left out, with a
// warning in the log.
int status_ask(json_t **heads, struct err *e);
