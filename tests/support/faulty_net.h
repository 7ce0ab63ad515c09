// A network that fails when a test says so: net_io swapped for a table that counts calls, lets the
// n-th of a kind fail, and moves few bytes at a time. Works under any number of threads.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum net_call { NET_NO_CALL, NET_CONNECT, NET_ACCEPT, NET_SEND, NET_RECV, NET_POLL, NET_CALLS };

struct net_faults {
    enum net_call call; // what fails; NET_NO_CALL: nothing
    long nth;           // which of them, from 0
    int error;          // its errno; 0 with NET_RECV: the stream ends there
    size_t most;        // bytes that one send or recv moves; 0: all
    int again_every;    // each so many-th send and recv is EAGAIN; 0: none
};

// Swaps the table. Not while other threads use the network.
void faulty_net(struct net_faults f);
// Puts the real network back; whether the fault happened.
bool faulty_net_end(void);
