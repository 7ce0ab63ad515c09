// The network of a home, of namespaces without names:
//
//     node 0: eth0 10.77.0.1      node 1: eth0 10.77.0.2      ...
//               |                           |
//              p0 ------ bridge "switch" -- p1 --                 in a namespace of its own
//
// A link that is a cable is a veth pair with a token bucket (tc tbf) at both ends. Any other is a
// pair of TAP devices, one in each namespace, and air.h carries the frames between them. With the
// last process all of it is gone.
#pragma once

#include "homelab/home.h"

struct wires {
    int node_ns[HOME_MAX_NODES], switch_ns; // open files of the namespaces; -1: none
    int node_tap[HOME_MAX_NODES], switch_tap[HOME_MAX_NODES]; // -1: the link is a cable
};

enum { WIRES_ADDRESS_BYTES = 16 };

// "10.77.0.1" of node 0
void wires_address(char out[WIRES_ADDRESS_BYTES], int node);

// The calling process is left in the switch's namespace. Needs root and the programs ip and tc.
int wires_lay(struct wires *w, const struct home *h, struct err *e);

// Moves the calling process into the namespace.
int wires_enter(int ns, struct err *e);
