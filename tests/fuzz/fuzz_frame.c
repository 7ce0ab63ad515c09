// Every reader of frames on every input. The first byte chooses the reader, the second the width of
// the activations and their type; the rest is the frame. What a reader believes is then used as its
// callers use it, so that a view that leads out of the frame is seen.
#include "ring/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t used; // keeps the reads

static void use(const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        used += ((const uint8_t *)data)[i];
}

static void read_opening(const void *data, size_t size)
{
    struct wire_header h;
    struct wire_hello hello;
    struct wire_welcome welcome;
    if (frame_read_hello(&h, &hello, data, size, NULL) == 0) {
        use(hello.build, strlen(hello.build));
        use(hello.name, strlen(hello.name));
    }
    struct err e = {0};
    if (frame_read_answer(&welcome, data, size, &e) == 0) {
        use(welcome.build, strlen(welcome.build));
        use(welcome.name, strlen(welcome.name));
    }
    use(e.text, strlen(e.text));
}

static void read_plan(const void *data, size_t size)
{
    struct wire_offer offer;
    const struct wire_layer *layers;
    struct wire_plan plan;
    const struct wire_window *windows;
    struct wire_roster roster;
    const struct wire_peer *peers;
    if (frame_read_offer(&offer, &layers, data, size, NULL) == 0) {
        use(offer.model, strlen(offer.model));
        use(layers, offer.n_digests * sizeof *layers);
    }
    if (frame_read_plan(&plan, &windows, data, size, NULL) == 0)
        use(windows, (size_t)plan.n_nodes * plan.n_rounds * sizeof *windows);
    if (frame_read_roster(&roster, &peers, data, size, NULL) == 0)
        for (uint32_t i = 0; i < roster.n_nodes; i++) {
            use(peers[i].name, strlen(peers[i].name));
            use(peers[i].addresses, peers[i].n_addresses * sizeof *peers[i].addresses);
        }
}

static void read_survey(const void *data, size_t size)
{
    struct wire_survey survey;
    const struct wire_peer *peers;
    struct wire_profile profile;
    struct wire_measure measure;
    struct wire_result result;
    struct wire_ping ping;
    if (frame_read_survey(&survey, &peers, data, size, NULL) == 0)
        use(peers, survey.n_nodes * sizeof *peers);
    if (frame_read_profile(&profile, data, size, NULL) == 0)
        use(&profile, sizeof profile);
    if (frame_read_measure(&measure, data, size, NULL) == 0)
        use(&measure, sizeof measure);
    if (frame_read_result(&result, data, size, NULL) == 0)
        use(&result, sizeof result);
    if (frame_read_ping(&ping, data, size, NULL) == 0)
        used += ping.number;
}

static void read_running(const void *data, size_t size)
{
    struct wire_ready ready;
    struct wire_heartbeat beat;
    struct wire_timing timing;
    const struct wire_time *times;
    char text[WIRE_MAX_TEXT + 1];
    int code;
    struct wire_have have;
    if (frame_read_have(&have, data, size, NULL) == 0)
        use(have.layers, sizeof have.layers);
    if (frame_read_ready(&ready, data, size, NULL) == 0)
        use(&ready, sizeof ready);
    if (frame_read_heartbeat(&beat, data, size, NULL) == 0)
        use(&beat, sizeof beat);
    if (frame_read_timing(&timing, &times, data, size, NULL) == 0)
        use(times, timing.n_times * sizeof *times);
    if (frame_read_sentence(&code, text, data, size, NULL) == 0)
        use(text, strlen(text));
    frame_read_empty(WIRE_GO, data, size, NULL);
    frame_read_empty(WIRE_LINKED, data, size, NULL);
}

static void read_pass(void *data, size_t size, uint8_t shape)
{
    struct pass_view v;
    enum wire_activation type = shape & 1 ? WIRE_F16 : WIRE_F32;
    if (frame_read_pass(&v, data, size, shape >> 1, type, NULL))
        return;
    use(v.ops, v.pass.n_ops * sizeof *v.ops);
    use(v.tokens, v.pass.n_tokens * sizeof *v.tokens);
    use(v.activations, v.activation_bytes);
    if (v.activation_bytes)
        memset(v.activations, 0, v.activation_bytes); // computed on in place
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t reader = data[0], shape = data[1];
    data += 2;
    size -= 2;
    // Aligned as frames are, and ending where the frame ends: the sanitizer sees the next byte.
    void *frame = NULL;
    if (posix_memalign(&frame, 64, size ? size : 1))
        return 0;
    memcpy(frame, data, size);
    struct wire_header h;
    if (size >= sizeof h && frame_header_read(&h, frame, size, NULL) == 0)
        used += h.size;
    switch (reader % 5) {
    case 0:
        read_opening(frame, size);
        break;
    case 1:
        read_plan(frame, size);
        break;
    case 2:
        read_running(frame, size);
        break;
    case 4:
        read_survey(frame, size);
        break;
    default:
        read_pass(frame, size, shape);
    }
    free(frame);
    return 0;
}
