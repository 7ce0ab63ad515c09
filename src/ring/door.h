// The door: the listening socket and its thread. Every connection becomes a link; those that have
// not yet been admitted belong to the door and are few: the oldest makes room for the next.
#pragma once

#include "ring/link.h"

struct door;

struct door_options {
    const char *host; // NULL: all interfaces
    uint16_t port;    // 0: any
    int max_unknown;  // 0: LINK_MAX_UNKNOWN
    struct link_options link;
};

int door_open(struct door **out, const struct door_options *o, struct err *e);
uint16_t door_port(const struct door *d);
// Stops listening, ends the links that were not admitted. Admitted ones live on.
void door_close(struct door *d);
