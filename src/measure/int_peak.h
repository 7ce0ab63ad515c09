// How many int8 multiplications and additions this machine does in a second: the ceiling of
// prefill, which multiplies quantized weights with quantized activations.
//
// Kernels on registers alone (kernels.h, int_dots), on all threads at once, because cores share
// power, clocks and, as hyper-threads, arithmetic. As with memory, take it just before and just
// after what it is compared with.
#pragma once

#include "base/err.h"
#include "kernels/kernels.h"

struct int_peak;

// Threads of its own; n_threads 0: pool_default_threads(). The machine must have `isa`.
int int_peak_open(struct int_peak **out, enum isa isa, int n_threads, struct err *e);
void int_peak_close(struct int_peak *p);

// 10^9 operations a second of the fastest of a few tries, all threads together. Takes about twenty
// milliseconds.
double int_peak_gops(struct int_peak *p);
