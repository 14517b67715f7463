/* test_faults.c - variants that fail on a device are not used there, and stand in its file. */
#include "cache_test.h"

#include "core/file.h"
#include "core/memory.h"
#include "device/faults.h"
#include "dfxcl.h"
#include "op/oplist.h"

#include <sys/wait.h>
#include <unistd.h>

static char path[2048];

static const dfx__way wrong = { "linear", "cpu_fast", DFX_F32 }, other = { "silu", "x", DFX_F16 };

static dfx_device *open_device(void)
{
    dfx_device *d;
    return dfx_device_open(&d, "cpu") == DFX_OK ? d : NULL;
}

/* What a device that is opened anew knows; "" for nothing. */
static const char *known(const dfx__way *way)
{
    static char text[256];
    dfx_device *d = open_device();
    const char *message = d ? dfx__fault_find(d, way) : NULL;
    snprintf(text, sizeof text, "%s", message ? message : "");
    dfx_device_free(d);
    return text;
}

static void keep(const dfx__way *way, const char *message)
{
    dfx_device *d = open_device();
    dfx__fault_keep(d, way, message);
    dfx_device_free(d);
}

static void find_file(void *user, const char *name)
{
    int *found = user;
    if (dfx__ends_with(name, ".faults.json")) {
        snprintf(path, sizeof path, "%s/dfxcl/%s", folder, name);
        ++*found;
    }
}

static void test_file(void)
{
    int found = 0;
    char place[1100];
    ok(!known(&wrong)[0], "at first nothing is wrong");
    keep(&wrong, "element 7 is off");
    ok(strcmp(known(&wrong), "element 7 is off") == 0, "a fault is kept");
    dfx__way half = wrong;
    half.dtype = DFX_F16;
    ok(!known(&half)[0] && !known(&other)[0], "of that variant and dtype alone");
    snprintf(place, sizeof place, "%s/dfxcl", folder);
    dfx__folder_list(place, find_file, &found);
    ok(found == 1, "in one file");
    keep(&other, "too");
    keep(&wrong, NULL);
    ok(!known(&wrong)[0] && known(&other)[0], "one that passes is taken out, alone");
}

static void test_fatal(void)
{
    dfx_device *d = open_device();
    if (fork() == 0) {
        dfx__fault_try(d, &wrong);
        _exit(0);
    }
    wait(NULL);
    dfx_device_free(d);
    d = open_device();
    ok(known(&wrong)[0] && dfx__fault_is_fatal(d, &wrong) && !dfx__fault_is_fatal(d, &other),
       "a process that ends in a test leaves a fault");
    dfx__fault_try(d, &wrong);
    dfx__fault_keep(d, &wrong, NULL);
    ok(!known(&wrong)[0] && !dfx__fault_is_fatal(d, &wrong), "until a test ends well");
    dfx_device_free(d);
}

static void test_session(void)
{
    dfx_device *d = open_device();
    dfx__fault_add(d, &wrong, "does not compile");
    ok(strcmp(dfx__fault_find(d, &wrong), "does not compile") == 0, "a fault while it is open");
    dfx_device_free(d);
    ok(!known(&wrong)[0], "which is not kept");
}

/* On the native CPU the way that is the reference is never done without. */
static void test_reference(void)
{
    const dfx__variant *reference = dfx__variant_reference(&dfx__silu);
    dfx__way way = { "silu", reference->name, DFX_F32 };
    dfx_device *d = open_device();
    dfx_sequence *s;
    dfx__fault_add(d, &way, "cannot be");
    if (dfx_sequence_new(&s, d, DFX_F32) != DFX_OK)
        return;
    dfx_output(dfx_silu(dfx_input(s, "x", DFX_F32, 1, (int64_t[]){ 8 })), "y");
    ok(dfx_sequence_prepare(s) == DFX_OK && s->call[0]->variant == reference,
       "the reference is used whatever a file says");
    dfx_sequence_free(s);
    dfx_device_free(d);
}

static void test_processes(void)
{
    enum { PROCESSES = 4, FAULTS = 5 };
    char name[PROCESSES * FAULTS][16];
    int lost = 0;
    for (int i = 0; i < PROCESSES * FAULTS; i++)
        snprintf(name[i], sizeof name[i], "v%d", i);
    for (int p = 0; p < PROCESSES; p++)
        if (fork() == 0) {
            dfx_device *d = open_device();
            for (int i = 0; i < FAULTS; i++)
                dfx__fault_keep(d, &(dfx__way){ "op", name[p * FAULTS + i], DFX_F32 }, "off");
            dfx__fault_keep(d, &(dfx__way){ "op", name[p * FAULTS], DFX_F32 }, NULL);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    for (int i = 0; i < PROCESSES * FAULTS; i++)
        lost += !known(&(dfx__way){ "op", name[i], DFX_F32 })[0] != (i % FAULTS == 0);
    ok(lost == 0, "%d processes add and take out at the same time: %d lost", PROCESSES, lost);
}

static void write_text(const char *text, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    if (f) {
        fwrite(text, 1, bytes, f);
        fclose(f);
    }
}

static void test_hostile(void)
{
    static const char *const texts[] = { "", "null", "{\"faults\": {\"linear:cpu_fast f32\": {}}}",
                                         "{\"schema\": 1, \"faults\": 3}" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(texts[i], strlen(texts[i]));
        ok(!known(&wrong)[0], "a file \"%s\" is not used", texts[i]);
    }
    keep(&wrong, "again");
    ok(known(&wrong)[0], "and is replaced");
    dfx__mapped m;
    int read = 0;
    char *text = NULL;
    size_t bytes = 0;
    if (dfx__map_file(&m, path) == DFX_OK && (text = dfx__alloc(m.bytes + 1, 1))) {
        bytes = m.bytes;
        memcpy(text, m.data, bytes);
        dfx__unmap_file(&m);
    }
    for (size_t i = 0; text && i < bytes; i++) {
        text[i] ^= (char)(1 << i % 8);
        write_text(text, bytes);
        text[i] ^= (char)(1 << i % 8);
        known(&wrong);
        read++;
    }
    ok(read > 0, "%d files with a bit turned over", read);
    free(text);
}

int main(void)
{
    begin_cache("faults");
    unsetenv("DFX_KERNELS");
    test_file();
    test_fatal();
    test_session();
    test_reference();
    test_processes();
    test_hostile();
    return end_cache();
}
