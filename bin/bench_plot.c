/* bench_plot.c - a record's calls under the roof that its peaks make, as an SVG file (Williams,
 * Waterman & Patterson 2009). */
#include "bench_record.h"

#include "cmd.h"
#include "output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The picture, and the field in it, in pixels. */
enum { WIDTH = 820, HEIGHT = 560, LEFT = 80, TOP = 50, RIGHT = 640, BOTTOM = 490, LEGEND = 660 };

/* Intensities and rates that the field spans, as powers of ten. */
struct field {
    FILE *file;
    double x0, x1, y0, y1;
};

static const struct group {
    const char *name, *color;
} groups[] = {
    { "gemm", "#1f77b4" },
    { "conv", "#d62728" },
    { "attention", "#2ca02c" },
    { "ops", "#9467bd" },
};
enum { GROUPS = sizeof groups / sizeof *groups };

static double x_of(const struct field *f, double intensity)
{
    return LEFT + (log10(intensity) - f->x0) / (f->x1 - f->x0) * (RIGHT - LEFT);
}

static double y_of(const struct field *f, double rate)
{
    return BOTTOM - (log10(rate) - f->y0) / (f->y1 - f->y0) * (BOTTOM - TOP);
}

/* A file's text within XML. */
static void put_escaped(FILE *file, const char *t)
{
    for (; *t; t++)
        if (*t == '<' || *t == '&' || *t == '>')
            fprintf(file, "&#%d;", *t);
        else if ((unsigned char)*t >= ' ')
            fputc(*t, file);
}

static void draw_axes(const struct field *f, json_object *device)
{
    fprintf(f->file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"%d\" y=\"28\" font-size=\"15\">",
            WIDTH, HEIGHT, LEFT);
    put_escaped(f->file, bench_record_text(device, "name"));
    fprintf(f->file, ", %s</text>\n", bench_record_text(device, "dtype"));
    for (int e = (int)f->x0; e <= (int)f->x1; e++) {
        double x = x_of(f, pow(10, e));
        fprintf(f->file,
                "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#ddd\"/>"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                x, TOP, x, BOTTOM, x, BOTTOM + 18, pow(10, e));
    }
    for (int e = (int)f->y0; e <= (int)f->y1; e++) {
        double y = y_of(f, pow(10, e));
        fprintf(f->file,
                "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT, y, RIGHT, y, LEFT - 6, y + 4, pow(10, e - 9));
    }
    fprintf(f->file,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">operations for each byte</text>\n"
            "<text transform=\"translate(22 %d) rotate(-90)\" text-anchor=\"middle\">GFLOP/s"
            "</text>\n",
            (LEFT + RIGHT) / 2, BOTTOM + 40, (TOP + BOTTOM) / 2);
}

/* The best rate of a group's rows of a dtype (NULL: any), in `key` a second. */
static double best(json_object *rows, const char *group, const char *dtype, const char *key)
{
    double found = 0;
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        if (strcmp(bench_record_text(row, "group"), group) != 0 ||
            (dtype && strcmp(bench_record_text(row, "dtype"), dtype) != 0) ||
            strncmp(bench_record_text(row, "shape"), "local", 5) == 0 ||
            strcmp(bench_record_text(row, "name"), "transfer") == 0 ||
            !(bench_record_seconds(row) > 0))
            continue;
        double rate = bench_record_number(row, key) / bench_record_seconds(row);
        found = rate > found ? rate : found;
    }
    return found;
}

static void draw_roof(const struct field *f, double bandwidth, double peak, const char *label,
                      const char *dash)
{
    if (!(peak > 0) || !(bandwidth > 0))
        return;
    double knee = peak / bandwidth, left = pow(10, f->x0), right = pow(10, f->x1);
    double start = fmax(left, pow(10, f->y0) / bandwidth);
    fprintf(f->file,
            "<polyline points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\" fill=\"none\" stroke=\"#333\" "
            "stroke-width=\"1.5\"%s/>"
            "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s %.0f GFLOP/s</text>\n",
            x_of(f, start), y_of(f, bandwidth * start), x_of(f, knee), y_of(f, peak),
            x_of(f, right), y_of(f, peak), dash, RIGHT - 4, y_of(f, peak) - 5, label, peak * 1e-9);
}

static void draw_points(const struct field *f, json_object *rows)
{
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const struct group *g = groups;
        while (g < groups + GROUPS && strcmp(g->name, bench_record_text(row, "group")) != 0)
            g++;
        double flops = bench_record_number(row, "flops"), bytes = bench_record_number(row, "bytes");
        if (g == groups + GROUPS || !(flops > 0) || !(bytes > 0) ||
            !(bench_record_seconds(row) > 0))
            continue;
        fprintf(f->file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"><title>",
                x_of(f, flops / bytes), y_of(f, flops / bench_record_seconds(row)), g->color);
        put_escaped(f->file, bench_record_text(row, "name"));
        fputc(' ', f->file);
        put_escaped(f->file, bench_record_text(row, "shape"));
        fprintf(f->file, ": %.1f GFLOP/s</title></circle>\n",
                flops / bench_record_seconds(row) * 1e-9);
    }
}

static void draw_legend(const struct field *f, double bandwidth)
{
    for (int i = 0; i < GROUPS; i++)
        fprintf(f->file,
                "<circle cx=\"%d\" cy=\"%d\" r=\"4\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s"
                "</text>\n",
                LEGEND + 6, TOP + 20 + 20 * i, groups[i].color, LEGEND + 18, TOP + 24 + 20 * i,
                groups[i].name);
    fprintf(f->file, "<text x=\"%d\" y=\"%d\">memory: %.1f GB/s</text>\n</svg>\n", LEGEND,
            TOP + 24 + 20 * GROUPS, bandwidth * 1e-9);
}

/* The powers of ten around what the record has. */
static void span(struct field *f, json_object *rows, double peak)
{
    f->x0 = -1;
    f->x1 = 3;
    f->y0 = f->y1 = ceil(log10(peak));
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        double flops = bench_record_number(row, "flops"), bytes = bench_record_number(row, "bytes"),
               s = bench_record_seconds(row);
        if (!(flops > 0) || !(bytes > 0) || !(s > 0))
            continue;
        f->x0 = fmin(f->x0, floor(log10(flops / bytes)));
        f->x1 = fmax(f->x1, ceil(log10(flops / bytes)));
        f->y0 = fmin(f->y0, floor(log10(flops / s)));
        f->y1 = fmax(f->y1, ceil(log10(flops / s)));
    }
    if (f->y1 - f->y0 < 2)
        f->y0 = f->y1 - 2;
}

int bench_plot(json_object *record, const char *path)
{
    json_object *device = json_object_array_get_idx(json_object_object_get(record, "devices"), 0);
    json_object *rows = bench_record_rows(device);
    double bandwidth = rows ? best(rows, "bandwidth", NULL, "bytes") : 0;
    double f32 = rows ? best(rows, "flops", "f32", "flops") : 0;
    if (!(bandwidth > 0) || !(f32 > 0))
        return cmd_fail_with(EXIT_FAILED, "%s: no peaks were measured to draw it", path);
    const char *dtype = bench_record_text(device, "dtype");
    double other = strcmp(dtype, "f32") != 0 ? best(rows, "flops", dtype, "flops") : 0;
    char *text = NULL;
    size_t bytes;
    struct field f = { .file = open_memstream(&text, &bytes) };
    if (!f.file)
        return cmd_fail_with(EXIT_FAILED, "%s: out of memory", path);
    span(&f, rows, fmax(f32, other));
    draw_axes(&f, device);
    draw_roof(&f, bandwidth, f32, "f32", "");
    draw_roof(&f, bandwidth, other, dtype, " stroke-dasharray=\"6 3\"");
    draw_points(&f, rows);
    draw_legend(&f, bandwidth);
    int whole = !ferror(f.file);
    whole &= fclose(f.file) == 0;
    int code =
        whole ? output_write(path, text) : cmd_fail_with(EXIT_FAILED, "%s: out of memory", path);
    free(text);
    return code;
}
