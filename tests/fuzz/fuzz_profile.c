// Descriptions of machines, and plans, as people write them. What is believed can be planned with,
// and is read again as it is written.
#include "base/check.h"
#include "plan/json_fields.h"
#include "plan/plan_json.h"
#include "plan/profile_json.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LAYERS = 8 };

static void read_plan(const json_t *json)
{
    static struct plan_order o;
    struct err e = {0};
    int rc = plan_json_read(&o, json, LAYERS, "fuzz", &e);
    CHECK(rc == 0 || (rc < 0 && e.text[0]));
    CHECK(rc || !windows_check(&o.table, &e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct plan_cluster c, again;
    const struct profile_json how = {.file = "fuzz"};
    struct err e = {0};
    json_t *json;
    if (fields_parse(&json, (const char *)data, size, "fuzz", &e)) {
        CHECK(e.text[0]);
        return 0;
    }
    read_plan(json);
    int rc = profile_json_read_cluster(&c, NULL, json, &how, &e);
    json_decref(json);
    CHECK(rc == 0 || (rc < 0 && e.text[0]));
    if (rc)
        return 0;
    CHECK(!profile_check(&c, &e));
    json = profile_json_cluster(&c);
    CHECK(json && !profile_json_read_cluster(&again, NULL, json, &how, &e));
    CHECK(again.n == c.n && again.machines[0].memory == c.machines[0].memory);
    json_decref(json);
    return 0;
}
