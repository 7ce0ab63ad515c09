// Machines and clusters as JSON, for people to write and for programs to keep (docs/PLAN.md).
//
//     {"machines": [{"name": "attic", "device": "pi5"}, {"name": "desk", "memory_bytes": "12G",
//     ..}],
//      "links": [{"between": ["attic", "desk"], "latency_us": 300, "bytes_per_s": 110000000}],
//      "disk_groups": [{"machines": ["attic", "desk"], "bytes_per_s": 9e8}],
//      "network_groups": [..], "processor_groups": [{"machines": [..]}]}
//
// The last machine is the head. A machine with a "device" is one like it, but for what it says
// itself. A way that no link describes is made from both machines' "network": latencies add up, the
// slower rate counts. Rates are bytes a second, times microseconds, memory bytes; of a
// plan_machine's seconds for a byte the inverse is written, with nine digits.
#pragma once

#include "plan/profile.h"

#include <jansson.h>

// A machine as a description has it: with the part that it has in the ways to others.
struct profile_device {
    struct plan_machine machine;
    struct plan_link network; // rate 0: not said
};

struct profile_json {
    const char *file; // for sentences
    // Finds a typical device; NULL: "device" is not known here.
    int (*find)(struct profile_device *out, const char *name, struct err *e);
};

// New references; NULL: no memory. A machine is written without its groups.
json_t *profile_json_machine(const struct plan_machine *m);
json_t *profile_json_cluster(const struct plan_cluster *c);

// A machine that is alone: its groups are -1.
int profile_json_read_machine(struct profile_device *out, const json_t *json,
                              const struct profile_json *how, struct err *e);
// `network` (PLAN_MAX_NODES) or NULL: each machine's, rate 0 where it says none. profile_check
// holds.
int profile_json_read_cluster(struct plan_cluster *out, struct plan_link *network,
                              const json_t *json, const struct profile_json *how, struct err *e);

// The way between two machines by what both say of themselves.
struct plan_link profile_way(const struct plan_link *from, const struct plan_link *to);
