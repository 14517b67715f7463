/* test_prompt.c - prompts with weights against what diffusers' community pipelines make of them
 * (tests/gen/prompts.py). */
#include "escaped.h"
#include "pipeline_test.h"

#include "tokenizer/prompt.h"

enum { LINE = 16384 };

/* Whether the tokens are those of a line "WEIGHT:ID,ID WEIGHT:ID", or the error that it says. */
static int matches(const dfx_tokenizer *t, const char *prompt, int breaks, char *line)
{
    dfx__weighted_tokens w;
    dfx_status status = dfx__weighted_tokens_read(&w, t, prompt, breaks);
    if (strncmp(line, "error", 5) == 0)
        return status == DFX_ERROR_ARGUMENT && strstr(dfx_error(), "is not a number");
    int same = status == DFX_OK;
    double weight = 0;
    for (int i = 0; same && i < w.count; i++) {
        if (*line != ',')
            weight = strtod(line, &line);
        same = (*line == ':' || *line == ',') && weight == w.weight[i] &&
               strtol(line + 1, &line, 10) == w.id[i];
    }
    dfx__weighted_tokens_free(&w);
    return same && strspn(line, " \n") == strlen(line);
}

static void test_file(const dfx_tokenizer *t)
{
    char kind[LINE], prompt[LINE], tokens[LINE];
    FILE *f = fopen(data("prompts.txt"), "r");
    int count = 0, right = 0;
    while (f && fgets(kind, LINE, f) && fgets(prompt, LINE, f) && fgets(tokens, LINE, f)) {
        int one = 1;
        unescape(prompt);
        if (kind[0] != 'x') /* sd or both */
            one &= matches(t, prompt, 0, tokens);
        if (kind[0] != 's') /* xl or both */
            one &= matches(t, prompt, 1, tokens);
        if (!one)
            printf("# %s# %s\n# %s", kind, prompt, tokens);
        right += one;
        count++;
    }
    ok(count > 100 && right == count, "%d of %d prompts have the community pipelines' tokens",
       right, count);
    if (f)
        fclose(f);
}

/* Brackets that take quadratic time, and more than is taken. */
static void test_long(const dfx_tokenizer *t)
{
    enum { ROOM = (1 << 16) + 2 };
    static char prompt[ROOM];
    static const char *const units[] = {
        "(", "[", "a(", "(a)", "(a:1.1)", "\\", ":", "BREAK ", ")"
    };
    dfx__weighted_tokens w;
    for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
        size_t length = strlen(units[k]);
        for (size_t i = 0; i < ROOM - 2; i++)
            prompt[i] = units[k][i % length];
        dfx_status status = dfx__weighted_tokens_read(&w, t, prompt, 1);
        ok(status == DFX_OK, "64 KiB of \"%s\": %d tokens", units[k], w.count);
        dfx__weighted_tokens_free(&w);
    }
    prompt[ROOM - 2] = 'a';
    dfx_status status = dfx__weighted_tokens_read(&w, t, prompt, 0);
    ok(status == DFX_ERROR_ARGUMENT && !w.id && strstr(dfx_error(), "65537 bytes"),
       "a prompt that is too long: %s", dfx_error());
}

/* The ids of a text without what is around them, whatever its length. */
static void test_encode_all(const dfx_tokenizer *t)
{
    int32_t padded[77], all[100] = { 0 };
    int used, lost, count;
    const char *text =
        "red apple red apple red apple red apple red apple red apple red apple red "
        "apple red apple red apple red apple red apple red apple red apple red apple "
        "red apple red apple red apple red apple red apple";
    int length = dfx_tokenizer_length(t);
    dfx_tokenizer_encode(t, text, padded, &used, &lost);
    dfx_status status = dfx_tokenizer_encode_all(t, text, all, 99, &count);
    ok(status == DFX_OK && lost > 0 && count == used - 2 + lost &&
           memcmp(all, padded + 1, (size_t)(used - 2) * 4) == 0,
       "all %d ids of a text of more than %d", count, length - 2);
    ok(padded[0] == dfx_tokenizer_bos(t) && padded[length - 1] == dfx_tokenizer_eos(t),
       "BOS %d, EOS %d", (int)padded[0], (int)padded[length - 1]);
    dfx_tokenizer_encode(t, "", padded, NULL, NULL);
    ok(padded[length - 1] == dfx_tokenizer_pad(t), "padding %d", (int)padded[length - 1]);
    all[3] = -1;
    ok(dfx_tokenizer_encode_all(t, text, all, 3, &count) == DFX_OK && all[3] == -1 && count > 3,
       "no more ids than there is room for");
    ok(dfx_tokenizer_encode_all(t, text, NULL, 0, &count) == DFX_OK && count > 3, "their number");
    ok(dfx_tokenizer_encode_all(t, NULL, all, 3, &count) == DFX_ERROR_ARGUMENT, "no text");
}

/* ---- states ---- */

#define LONG "a (red:1.4) apple [on] a (((cat))), "

/* The runs of tests/gen/prompts.py. */
static const struct states_run {
    const char *name, *prompt[2], *negative[2];
    int long_prompts, no_boseos_middle, multiples, clip_skip;
    float guidance;
    const char *second; /* prompt_2 */
} runs[] = {
    { "long", { LONG LONG LONG, "red" }, { "(blue:0.6) cat", "" }, 1, 0, 0, 0, 2, NULL },
    { "long.joined", { LONG LONG LONG, "red" }, { "(blue:0.6) cat", "" }, 1, 1, 0, 0, 2, NULL },
    { "long.two", { LONG LONG LONG }, { "cat" }, 1, 0, 2, 0, 2, NULL },
    { "long.skip", { LONG LONG LONG }, { "cat" }, 1, 0, 0, 1, 2, NULL },
    { "long.short", { "(red) apple" }, { NULL }, 1, 0, 0, 0, 1, NULL },
    { "long.empty", { "" }, { NULL }, 1, 0, 0, 0, 1, NULL },
    { "lists", { "a red apple", "cat" }, { "cat", "red" }, 0, 0, 0, 0, 2, NULL },
    { "skip", { "a red apple", "cat" }, { NULL }, 0, 0, 0, 1, 2, NULL },
}, runs_xl[] = {
    { "xl", { LONG LONG LONG "BREAK cat" }, { "(blue:0.6) cat" }, 1, 0, 0, 0, 2, NULL },
    { "xl.second", { "(red:1.3) apple" }, { LONG LONG LONG }, 1, 0, 0, 0, 2, "[cat]" },
    { "xl.skip", { "(red:1.3) apple" }, { NULL }, 1, 0, 0, 1, 2, NULL },
};

/* Whether a tensor is the fixture's, and how far from it. */
static int is_near(const dfx_tensors *all, const char *name, const dfx_tensor *got, double *error)
{
    const dfx_tensor *wanted = dfx_tensors_find(all, name);
    struct watch w = { 0 };
    if (!wanted || !got || !same_shape(&got->spec, &wanted->spec))
        return 0;
    compare(&w, got->data, wanted);
    *error = w.worst_norm;
    return w.worst_norm < 2e-5;
}

static void test_run(dfx_pipeline *p, const dfx_tensors *all, const struct states_run *c)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r;
    char pooled[64];
    double error = INFINITY;
    o.prompts = c->prompt;
    o.negative_prompts = c->negative[0] ? c->negative : NULL;
    o.prompt_count = 1 + (c->prompt[1] != NULL);
    o.long_prompts = c->long_prompts;
    o.no_boseos_middle = c->no_boseos_middle;
    o.max_embeddings_multiples = c->multiples;
    o.clip_skip = c->clip_skip;
    o.guidance_scale = c->guidance;
    o.prompt_2 = c->second;
    o.steps = 1;
    dfx_status status = dfx_pipeline_generate(&r, p, &o);
    if (!ok(status == DFX_OK, "%s: %s", c->name, status ? dfx_error() : "runs"))
        return;
    int near = is_near(all, c->name, dfx_result_prompt_embeds(r), &error);
    ok(near, "%s: the states (%.0e)", c->name, error);
    snprintf(pooled, sizeof pooled, "%s/pooled", c->name);
    if (dfx_tensors_find(all, pooled)) {
        near = is_near(all, pooled, dfx_result_pooled_prompt_embeds(r), &error);
        ok(near, "%s (%.0e)", pooled, error);
    }
    dfx_result_free(r);
}

static void test_states(void)
{
    const char *device = getenv("DFX_DEVICE");
    dfx_pipeline_options o = { .device = device && *device ? device : "cpu", .dtype = "f32" };
    dfx_pipeline *p;
    dfx_tensors *all;
    if (!ok(dfx_pipeline_open(&p, data("tiny"), &o) == DFX_OK &&
                dfx_tensors_open(&all, data("prompts.safetensors")) == DFX_OK,
            "the tiny model and its states open"))
        return;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        test_run(p, all, &runs[i]);
    dfx_generate_options wrong = DFX_GENERATE_DEFAULT;
    dfx_result *r;
    wrong.prompt = "(red:1.2.3) apple";
    wrong.steps = wrong.long_prompts = 1;
    ok(dfx_pipeline_generate(&r, p, &wrong) == DFX_ERROR_ARGUMENT && strstr(dfx_error(), ":1.2.3)"),
       "a wrong weight: %s", dfx_error());
    dfx_pipeline_free(p);
    if (ok(dfx_pipeline_open(&p, data("tiny_xl"), &o) == DFX_OK, "SDXL's opens"))
        for (size_t i = 0; i < sizeof runs_xl / sizeof *runs_xl; i++)
            test_run(p, all, &runs_xl[i]);
    dfx_pipeline_free(p);
    dfx_tensors_free(all);
}

int main(void)
{
    const char *top = getenv("srcdir");
    char folder[512];
    dfx_tokenizer *t;
    snprintf(folder, sizeof folder, "%.400s/share/models/emoji/tokenizer", top ? top : ".");
    if (!ok(dfx_tokenizer_open(&t, folder) == DFX_OK, "the emoji model's tokenizer opens"))
        return done();
    test_file(t);
    test_long(t);
    test_encode_all(t);
    dfx_tokenizer_free(t);
    test_states();
    return done();
}
