// A worker's part in one ring: its windows, its two edges and the thread that computes.
//
//   duty_new -> thread: compare and load -> MAIL_LOADED or MAIL_LOAD_FAILED
//                       -> for each frame: check, run the window, pass it on -> ... -> duty_free
//
// A duty belongs to the worker's driving thread; its own thread tells by mail what happens.
#pragma once

#include "cluster/edges.h"
#include "engine/stage.h"
#include "model/shard.h"
#include "plan/windows.h"

// The worker's file, opened when the first head offers something and kept. Used by one duty at a
// time.
struct duty_model {
    const char *path;
    struct gguf *gguf;
    struct model *model;
};
// Opens it, unless it is open and has not changed.
int duty_model_have(struct duty_model *m, struct err *e);
void duty_model_close(struct duty_model *m);

struct duty;

struct duty_options {
    const struct tls_identity *identity;
    struct duty_model *model;
    int n_threads;
    enum pin pin;
    enum isa isa;
    struct weights_options weights;
    struct mailbox *mail;
    struct link_pulse *pulse;        // this thread moves it
    struct link *head;               // the control link: timing reports go there
    struct frame_pool *control;      // for them
    struct net_address head_address; // as this worker reached it
};

// The three frames of an offer, in bytes that the duty does not keep.
struct duty_frames {
    const struct frame *offer, *plan, *roster;
};

// Checks the frames; then everything happens on the duty's thread.
int duty_new(struct duty **out, const struct duty_options *o, uint32_t epoch,
             const struct duty_frames *frames, struct err *e);
// Stops computing (after the window at hand), closes the edges, frees all.
void duty_free(struct duty *d);

// ---- After MAIL_LOADED.
struct edges *duty_edges(struct duty *d);
struct wire_ready duty_ready(const struct duty *d);
const char *duty_weights(const struct duty *d);          // where they lie, for people
struct weights_status duty_status(const struct duty *d); // of them, now

// "layers 0-1 and 5 of 8, node 1 of 3" for people; any time.
const char *duty_describe(const struct duty *d);
