// TCP sockets: listening, dialling with a deadline, and under which addresses this machine is
// likely to be reached.
//
// All sockets are non-blocking, close-on-exec and tuned for one small frame at a time: no delay,
// keep-alive, and an unacknowledged byte ends the connection after NET_USER_TIMEOUT_MS.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    NET_USER_TIMEOUT_MS = 5000,
    NET_ADDRESS_TEXT = 48, // an address as text and its NUL
};

// An IP address; this is also its form on the wire and in a token (20 bytes, no padding).
struct net_address {
    uint8_t family; // 4 or 6
    uint8_t zero[3];
    uint8_t bytes[16]; // network order; an IPv4 address has the first four, the rest is zero
};

// Whether these 20 bytes, which came from outside, are an address that can be dialled.
bool net_address_valid(const struct net_address *a);
int net_address_parse(struct net_address *a, const char *text, struct err *e); // numbers only
const char *net_address_text(const struct net_address *a, char out[NET_ADDRESS_TEXT]);
bool net_address_equal(const struct net_address *a, const struct net_address *b);
bool net_address_loopback(const struct net_address *a);

// Listens on `host` (NULL: all interfaces, both families where the machine has them) and `port`
// (0: any free one); *bound is the port it got. A descriptor >= 0 or an error.
int net_listen(const char *host, uint16_t port, uint16_t *bound, struct err *e);

// The next waiting connection, tuned. A descriptor, or -1: nobody waits (errno EAGAIN) or the
// attempt failed (any other errno; the listener goes on).
int net_accept(int listener, struct net_address *from);

// Dials, waiting at most timeout_ms, or until `cancel_fd` (-1: none) becomes readable. A descriptor
// or an error.
int net_connect(const struct net_address *to, uint16_t port, int timeout_ms, int cancel_fd,
                struct err *e);

// The addresses to put into a token, the likeliest first: private IPv4, then other addresses, those
// of bridges and virtual interfaces last; loopback only when there is nothing else, or when `host`
// (as given to net_listen) names it. Returns their number, at most `max`.
int net_own_addresses(const char *host, struct net_address *out, int max);
