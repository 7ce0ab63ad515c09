// Which machine this is, in words that stand beside a measurement.
#pragma once

#include <stdint.h>

struct machine {
    char processor[96];    // "AMD Ryzen 9 7950X 16-Core Processor"; printable
    char system[96];       // "Linux 6.1.0 x86_64"
    int n_processors;      // hardware threads that are on
    uint64_t memory_bytes; // installed
};

void machine_describe(struct machine *m);
