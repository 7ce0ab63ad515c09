// A plain forward pass in double precision, written for reading: the oracle of the model tests.
//
// It shares no code with src/model or src/backend; it reads the file's keys itself and decodes
// weights with the scalar kernels, which tests/kernels checks against known values.
#pragma once

#include <stddef.h>
#include <stdint.h>

// What a pass has to say beside its logits.
struct reference_facts {
    int n_vocab;
    // How clear the closest choice of experts was: the smallest difference between what the last
    // expert (or group) chosen scored and the best one left, over all tokens and layers, where
    // scores are the router's logits; INFINITY: no choices.
    double routing_gap;
};

// Logits (n, n_vocab) of every position of `ids`, malloc'd; the caller frees. Fails the running
// test when the file cannot be read. *n_vocab is set.
double *reference_logits(const char *path, const int32_t *ids, int n, int *n_vocab);
// The same for a run that has room for n_context positions, 0: the file's context_length. (phi3
// with long and short factors asks: they depend on whether that exceeds the original context.)
double *reference_logits_in(const char *path, const int32_t *ids, int n, int n_context,
                            struct reference_facts *facts);

// Mean Kullback-Leibler divergence of softmax(b) from softmax(a) over n rows.
double reference_mean_kl(const double *a, const float *b, int n, int n_vocab);
double reference_max_diff(const double *a, const float *b, size_t n);
