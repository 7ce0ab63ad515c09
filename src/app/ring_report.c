// What is known of a ring, for people: see ring_report.h.
#include "app/ring_report.h"

#include "app/amounts.h"

enum { NAME_COLUMNS = 26 };

static void print_name(FILE *out, const struct node_report *r, int node)
{
    char name[64];
    snprintf(name, sizeof name, "%d %.*s%s", node + 1, WIRE_NAME, r->names[node],
             node == r->table.n_nodes - 1 ? " (head)" : "");
    fprintf(out, "  %-*s", NAME_COLUMNS, name);
}

// "613 MiB + 150 MiB from disk"
static void print_memory(FILE *out, const struct node_memory *m)
{
    char resident[AMOUNT_BYTES], streamed[AMOUNT_BYTES];
    amount_size(resident, m->resident);
    amount_size(streamed, m->streamed);
    if (m->streamed)
        fprintf(out, " %s + %s from disk", resident, streamed);
    else
        fprintf(out, " %s", m->resident ? resident : "mapped");
}

void ring_report_map(FILE *out, const struct node_report *r)
{
    const struct window_table *t = &r->table;
    fprintf(out, "layer map: %d layers, %d nodes, k = %d\n  %-*s", t->n_layers, t->n_nodes,
            t->n_rounds, NAME_COLUMNS, "node");
    for (int k = 0; k < t->n_rounds; k++)
        fprintf(out, " round %-3d", k + 1);
    fputs(" weights in memory\n", out);
    for (int i = 0; i < t->n_nodes; i++) {
        print_name(out, r, i);
        for (int k = 0; k < t->n_rounds; k++) {
            char window[24] = "-";
            if (t->hi[k][i] - t->lo[k][i] == 1)
                snprintf(window, sizeof window, "%d", t->lo[k][i]);
            else if (t->hi[k][i] > t->lo[k][i])
                snprintf(window, sizeof window, "%d-%d", t->lo[k][i], t->hi[k][i] - 1);
            fprintf(out, " %-9s", window);
        }
        print_memory(out, &r->memory[i]);
        fputc('\n', out);
    }
    if (r->activation == WIRE_F16)
        fputs("activations travel as F16: the answer is close to one node's, not bit-equal\n", out);
}

// ---- Times.

// Whether some node reads weights from disk for each pass, has to since it ran short of memory, or
// was expected to.
static bool some_streams(const struct node_report *r)
{
    bool some = false;
    for (int i = 0; i < r->table.n_nodes; i++)
        some |= r->memory[i].streamed > 0 || r->decode.nodes[i].wait_ms > 0 ||
                r->predicted.nodes[i].wait_ms > 0;
    return some;
}

static void print_node(FILE *out, const struct timings_node *t, bool disk, bool sends)
{
    fprintf(out, " %8.0f us %9.3f ms", t->hop_us, t->compute_ms);
    if (disk)
        fprintf(out, " %8.3f ms", t->wait_ms);
    if (sends)
        fprintf(out, " %6.0f us", t->send_us);
    fputc('\n', out);
}

void ring_report_times(FILE *out, const struct node_report *r)
{
    bool planned = r->predicted.pass_ms > 0, disk = some_streams(r);
    if (!r->decode.n_passes)
        return;
    fprintf(out, "times of a token (medians of %d): %.3f ms round the ring", r->decode.n_passes,
            r->decode.pass_ms);
    if (planned)
        fprintf(out, ", planned %.3f ms (%+.0f %%)", r->predicted.pass_ms,
                100 * (r->decode.pass_ms / r->predicted.pass_ms - 1));
    fprintf(out, "\n  %-*s %11s %12s%s %9s\n", NAME_COLUMNS, "node", "receive", "compute",
            disk ? "   disk wait" : "", "send");
    for (int i = 0; i < r->table.n_nodes; i++) {
        print_name(out, r, i);
        print_node(out, &r->decode.nodes[i], disk, true);
        if (!planned)
            continue;
        fprintf(out, "  %-*s", NAME_COLUMNS, "    planned");
        print_node(out, &r->predicted.nodes[i], disk, false);
    }
}
