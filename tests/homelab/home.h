// A home as its description file tells it: machines and their links, nothing of how they are made.
//
//     # four old boxes                     # to the end of the line: a comment
//     all   memory 900MiB  cpu 0.5         what holds for every node that follows
//     node  attic                          a machine; the first one is the head
//     node  cellar  memory 2GiB  rate 100Mbit/s  delay 2ms
//
// A line is a word and then pairs of a key and a value; in brackets what holds without the pair:
//
// clang-format off
//     memory SIZE             of its processes and their page cache; there is no swap (unlimited)
//     cpu N                   processor seconds that it gets in a second, as 0.5 (unlimited)
//     cpus N                  processors that it sees, where this machine has as many (unlimited)
//     threads N               compute threads (1)
//     disk RATE               what it reads in a second, as 500MB/s (unlimited)
//     model own|shared        a copy of the model for itself, or the file of all (own)
//     rate RATE               of its link, each way, as 1Gbit/s (unlimited)
//     delay TIME              one way over its link, as 3ms (none)
//     jitter TIME             a frame is so much earlier or later; order is kept (none)
//     loss P%                 of its frames, each way (none)
//     outage TIME every TIME  the end of each such period loses all its frames (none)
//     air NAME                its rate is that of one medium for all of this name (none)
// clang-format on
//
// A link leads from a node to the switch of the home, so a frame passes two links on its way.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HOME_MAX_NODES = 16, HOME_NAME_BYTES = 32, HOME_MAX_BYTES = 1 << 16 };

struct home_link {
    uint64_t rate_bps; // bits in a second; 0: unlimited
    int64_t delay_us, jitter_us;
    double loss;                  // 0..1
    int64_t outage_us, period_us; // of each period the end is lost; 0: never
    char air[HOME_NAME_BYTES];    // "": a medium of its own
};

struct home_node {
    char name[HOME_NAME_BYTES];
    uint64_t memory_bytes; // 0: unlimited, as in all that follow
    double cpu;
    int cpus, threads;
    uint64_t disk_bps; // bytes in a second
    bool shares_model;
    struct home_link link;
};

struct home {
    struct home_node nodes[HOME_MAX_NODES]; // [0] is the head
    int n_nodes;
};

// `text` needs no end; `name` is that of the file, for errors, which tell the line.
int home_parse(struct home *h, const char *name, const char *text, size_t size, struct err *e);
int home_read(struct home *h, const char *path, struct err *e);

// The node with this name, or -1.
int home_find(const struct home *h, const char *name);

// Whether the kernel's own means do (a cable and a rate), or frames pass through air.h.
bool home_link_is_cable(const struct home_link *l);
