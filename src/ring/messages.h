// Every byte on the wire and every limit; no code. docs/WIRE.md draws it.
//
// Little-endian; the structs below are the bytes (natural alignment, no padding, sizes asserted).
// A frame is a header and a body. What is called `zero` is sent as zero and not looked at. There
// is never a pointer, an op-code of a computation, a path or a shape: the receiver derives each
// size from its own copy of the model and compares.
//
// Control links carry everything but WIRE_PASS and WIRE_PING; pass links carry HELLO, WELCOME,
// REFUSE, HEARTBEAT, LEAVE and WIRE_PASS, those that are only measured WIRE_PING instead.
#pragma once

#include "net/sockets.h"

#include <stdint.h>

enum {
    WIRE_MAGIC = 0x4f444e52, // "RNDO"
    WIRE_VERSION = 4,

    WIRE_MAX_NODES = 32,
    WIRE_MAX_ROUNDS = 64,
    WIRE_MAX_LAYERS = 1024,
    WIRE_MAX_TOKENS = 512, // of one pass
    WIRE_MAX_OPS = 64,     // session operations of one pass
    WIRE_MAX_SESSIONS = 256,
    WIRE_MAX_CONTEXT = 1 << 24, // positions of a session
    WIRE_MAX_WIDTH = 1 << 15,   // activations of one token
    WIRE_MAX_PAGES = 1 << 20,   // of the KV cache
    WIRE_MAX_ADDRESSES = 8,
    WIRE_MAX_TIMES = 64, // entries of one timing report
    WIRE_MAX_BITS = 50,  // bytes of weights and times waited: at most 1 << WIRE_MAX_BITS
    WIRE_MAX_TEXT = 480,
    WIRE_MAX_CONTROL = 1 << 16, // bytes of any frame but WIRE_PASS, header included
    WIRE_NAME = 32,             // names: printable ASCII, NUL-padded, the last byte is NUL
    WIRE_BUILD = 16,
    WIRE_TYPES = 40,               // weight types of a profile
    WIRE_MAX_PROBE = 1 << 20,      // bytes by which a link's rate is measured
    WIRE_MAX_HUNDREDTHS = 1 << 20, // of processors
    WIRE_MAX_READ_MS = 1000,       // that a disk is measured together with others

    RING_MAX_PASSES = 8, // in flight; every queue and pool has room for that many frames
};

enum wire_type {
    WIRE_HELLO = 1, // dialler's first frame, fixed size
    WIRE_WELCOME,   // answer: you are in
    WIRE_REFUSE,    // answer: you are not, with a sentence; then the link is closed
    WIRE_OFFER,     // head: the model, by digests, and what a node must have room for
    WIRE_PLAN,      // head: who runs which layers
    WIRE_ROSTER,    // head: who the nodes are and where they listen
    WIRE_READY,     // worker: loaded, my edge may be dialled
    WIRE_NOT_READY, // worker: a sentence
    WIRE_GO,        // head: all are ready, dial the next node
    WIRE_LINKED,    // worker: my edge to the next node is open
    WIRE_HEARTBEAT, // both, also on pass links
    WIRE_TIMING,    // worker: what passes cost it
    WIRE_FAILED,    // worker: a pass or an edge of mine went wrong, a sentence
    WIRE_END,       // head: this ring is over, wait for the next head; a sentence
    WIRE_LEAVE,     // both: I go, a sentence
    WIRE_PASS,      // pass links only
    WIRE_HAVE,      // worker: the layers that its file has; the first frame after WELCOME
    WIRE_SURVEY,    // head: what can you do with this model? and who else is asked
    WIRE_PROFILE,   // worker: that
    WIRE_MEASURE,   // head: measure the way to another node, or your disk while others read
    WIRE_MEASURED,  // worker: what came of it
    WIRE_PING,      // links of WIRE_PROBE only: bytes to and fro
    WIRE_TYPE_COUNT,
};

struct wire_header {
    uint32_t magic;
    uint16_t version;
    uint8_t type;  // enum wire_type
    uint8_t flags; // none yet: zero
    uint32_t size; // of the body, bytes
    uint32_t epoch;
    uint64_t pass;  // PASS; else zero
    uint16_t round; // PASS; else zero
    uint16_t node;  // sender's index in the plan, where there is one; else zero
    uint32_t zero;
};
_Static_assert(sizeof(struct wire_header) == 32, "wire");

// ---- Opening a link. HELLO, WELCOME and REFUSE keep their sizes, and everything up to and
// including `build`, in all versions, so that each can tell the other who it is.

enum wire_purpose {
    WIRE_JOIN = 1, // a worker's control link to the head
    WIRE_EDGE,     // the ring's edge from node header.node, under header.epoch
    WIRE_PROBE,    // the way from node header.node of the survey header.epoch is measured
};

struct wire_hello {
    char build[WIRE_BUILD]; // "0.1.0"
    uint32_t purpose;       // enum wire_purpose
    uint16_t port;          // where the sender listens
    uint16_t zero;
    uint64_t token_id; // 0: no secret, the fingerprint must be known
    char name[WIRE_NAME];
    uint8_t proof[32]; // cluster/pairing.h; zero without a secret
};
_Static_assert(sizeof(struct wire_hello) == 96, "wire");

struct wire_welcome {
    char build[WIRE_BUILD];
    char name[WIRE_NAME];
};
_Static_assert(sizeof(struct wire_welcome) == 48, "wire");

// ---- A sentence: REFUSE, NOT_READY, FAILED, END, LEAVE.

struct wire_sentence {
    char build[WIRE_BUILD];
    int32_t code;             // as base/err.h: ERR_FAILED .. ERR_DENIED
    uint32_t length;          // of the text, <= WIRE_MAX_TEXT
    char text[WIRE_MAX_TEXT]; // printable ASCII, NUL-padded
};
_Static_assert(sizeof(struct wire_sentence) == 504, "wire");

// ---- Making a ring.

struct wire_have {
    uint8_t layers[WIRE_MAX_LAYERS / 8]; // layer i is bit i % 8 of byte i / 8
    // The beginnings of digests: equal on nodes of one machine, and of files on one disk.
    uint8_t machine[16], disk[16];
    // Hundredths of a processor: that the node may use, and that the machine has.
    uint32_t processors, of_processors;
};
_Static_assert(sizeof(struct wire_have) == 168, "wire");

enum wire_activation { WIRE_F32, WIRE_F16, WIRE_ACTIVATION_COUNT };
enum wire_kv { WIRE_KV_F32, WIRE_KV_F16, WIRE_KV_Q8_0, WIRE_KV_COUNT };

struct wire_offer {
    char model[64];     // a name to show, never a path
    uint8_t digest[32]; // hyper-parameters and vocabulary
    uint32_t n_layers;
    uint32_t kv; // enum wire_kv
    uint32_t max_batch, max_sessions, max_context, kv_pages;
    uint32_t n_digests; // wire_layer entries behind this
    uint32_t zero;
};
_Static_assert(sizeof(struct wire_offer) == 128, "wire");

struct wire_layer { // ascending, of the layers the receiver owns
    uint32_t layer;
    uint32_t zero;
    uint8_t digest[32];
};
_Static_assert(sizeof(struct wire_layer) == 40, "wire");

struct wire_plan { // its epoch is the header's
    uint32_t n_nodes, n_rounds, n_layers;
    uint32_t node;       // the receiver's index; the head is n_nodes - 1
    uint32_t activation; // enum wire_activation
    uint32_t zero[3];
    // Bytes for the receiver: of the slots that streamed parts come through, and of all that it
    // takes. 0: as it finds right.
    uint64_t slots, memory;
};
_Static_assert(sizeof(struct wire_plan) == 48, "wire");

struct wire_window { // (n_rounds, n_nodes) behind wire_plan
    uint16_t lo, hi;
};
_Static_assert(sizeof(struct wire_window) == 4, "wire");

struct wire_roster {
    uint32_t n_nodes; // wire_peer entries behind this, in the plan's order
    uint32_t zero;
};
_Static_assert(sizeof(struct wire_roster) == 8, "wire");

struct wire_peer {
    uint8_t fingerprint[32];
    char name[WIRE_NAME];
    uint16_t port;
    uint16_t n_addresses;
    uint32_t zero;
    struct net_address addresses[WIRE_MAX_ADDRESSES];
};
_Static_assert(sizeof(struct wire_peer) == 232, "wire");

struct wire_ready {
    uint64_t weight_bytes; // of the windows, as loaded
    uint64_t load_ns;
    char isa[WIRE_BUILD]; // that it computes with; another one than the head's may change bits
    // Of these, in memory of its own; read from disk for each pass; and the slots for that.
    uint64_t resident_bytes, streamed_bytes, slot_bytes;
};
_Static_assert(sizeof(struct wire_ready) == 56, "wire");

// ---- Before a plan is made: what the nodes can do.

struct wire_survey {
    char model[64];     // as in wire_offer, and the next
    uint8_t digest[32]; // hyper-parameters and vocabulary
    uint32_t n_layers;
    uint32_t kv; // enum wire_kv
    uint32_t max_batch, max_sessions, max_context;
    uint32_t known;   // 1: only what was measured before, nobody waits for more
    uint32_t node;    // the receiver's index among those that are asked; the head is n_nodes - 1
    uint32_t n_nodes; // wire_peer entries behind this
};
_Static_assert(sizeof(struct wire_survey) == 128, "wire");

// As plan/profile.h's plan_speed and plan_machine. Every number is finite and not negative.
struct wire_speed {
    double product[2][WIRE_TYPES][3];
    double layer, token, attend, launch;
};
_Static_assert(sizeof(struct wire_speed) == 1952, "wire");

struct wire_profile {
    uint64_t memory, base, vram;
    double disk, copy;
    uint32_t known;  // 0: nothing was measured before, and the rest is zero
    uint32_t shares; // 1: its memory is what the machine can spare, for all nodes there are on it
    struct wire_speed cpu, gpu;
};
_Static_assert(sizeof(struct wire_profile) == 3952, "wire");

enum wire_measured { WIRE_LINK_RATE = 1, WIRE_DISK_RATE };

struct wire_measure {
    uint32_t what;  // enum wire_measured
    uint32_t node;  // LINK_RATE: the way to this node of the survey
    uint32_t small; // LINK_RATE: bytes of a message by which the latency is measured,
    uint32_t large; // and of one for the rate; <= WIRE_MAX_PROBE
    uint32_t ms;    // DISK_RATE: how long
    uint32_t zero;
};
_Static_assert(sizeof(struct wire_measure) == 24, "wire");

struct wire_result {
    uint32_t what, node; // as in wire_measure
    double latency;      // LINK_RATE: seconds, from compute loop to compute loop
    double rate;         // bytes a second; 0: not reached, or cannot be read so
};
_Static_assert(sizeof(struct wire_result) == 24, "wire");

enum wire_ping_kind { WIRE_PING_DATA, WIRE_PING_CALL, WIRE_PING_ANSWER, WIRE_PING_COUNT };

struct wire_ping {   // `bytes` of anything behind it
    uint32_t kind;   // DATA is swallowed, a CALL comes back as it is, as an ANSWER
    uint32_t number; // of the call
    uint32_t bytes;
    uint32_t zero;
};
_Static_assert(sizeof(struct wire_ping) == 16, "wire");

// ---- While it runs.

// Sent by the link's thread. The four times of NTP (RFC 5905, section 8) are echo_sent,
// echo_received, sent and the receiver's clock on arrival.
struct wire_heartbeat {
    int64_t sent_ns;          // sender's clock
    int64_t echo_sent_ns;     // sent_ns of the last heartbeat that the sender got; 0: none yet
    int64_t echo_received_ns; // when it got it, sender's clock
    uint64_t progress;        // counts what the compute loop has finished; wraps never
    uint32_t busy;            // whether the compute loop has something to do
    uint32_t zero;
};
_Static_assert(sizeof(struct wire_heartbeat) == 40, "wire");

struct wire_timing {
    uint32_t n_times; // wire_time entries behind this
    uint32_t zero;
};
_Static_assert(sizeof(struct wire_timing) == 8, "wire");

struct wire_time { // one window of one pass; sender's clock
    uint64_t pass;
    uint32_t round;
    uint32_t zero;
    int64_t received_ns; // the frame's last byte was here
    int64_t started_ns;  // the compute loop took it up
    int64_t computed_ns;
    int64_t sent_ns;   // the frame's last byte was given to the socket
    int64_t waited_ns; // for the disk, while computing
};
_Static_assert(sizeof(struct wire_time) == 56, "wire");

// ---- A pass: wire_header | wire_pass | wire_op [n_ops] | wire_token [n_tokens] | zero bytes up to
// a multiple of 64 | activations (n_tokens, width), whose width is the receiver's own knowledge.
// Without tokens nothing follows the operations.

enum wire_op_kind { WIRE_OP_TRUNCATE, WIRE_OP_FORK, WIRE_OP_DROP, WIRE_OP_COUNT };

struct wire_pass {
    uint32_t n_tokens, n_ops;
    uint32_t group, chunk; // chunk of a prompt's group
    uint32_t activation;   // enum wire_activation
    uint32_t behind;       // as model/batch.h's
    uint32_t zero[2];
};
_Static_assert(sizeof(struct wire_pass) == 32, "wire");

struct wire_op {   // as model/batch.h's session_op
    uint32_t kind; // enum wire_op_kind
    uint32_t session, other, pos;
};
_Static_assert(sizeof(struct wire_op) == 16, "wire");

struct wire_token {
    uint32_t session, pos;
};
_Static_assert(sizeof(struct wire_token) == 8, "wire");

_Static_assert(sizeof(struct net_address) == 20, "wire");
