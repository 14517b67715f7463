/* test_files.c - JSON with its limits and messages; files mapped, and files that appear whole. */
#include "folder_test.h"

#include "core/file.h"
#include "core/json.h"
#include "core/mount.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "wb");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        exit(99);
}

static int holds(const char *name, const char *text)
{
    dfx__mapped m;
    if (dfx__map_file(&m, in_folder(name)) != DFX_OK)
        return 0;
    int same = m.bytes == strlen(text) && memcmp(m.data, text, m.bytes) == 0;
    dfx__unmap_file(&m);
    return same;
}

static void test_json_values(void)
{
    static const char text[] =
        "{\"low\": -Infinity, \"nan\": NaN, \"none\": null, \"name\": \"x\", "
        "\"n\": 3,\n \"length\": 1000000000000000019884624838656}\n";
    json_object *o;
    if (!ok(dfx__json_parse(&o, text, sizeof text - 1, "c") == DFX_OK, "JSON as Python writes it"))
        return;
    ok(json_object_get_double(dfx__json_get(o, "low", json_type_double)) == -INFINITY, "-Infinity");
    ok(isnan(json_object_get_double(dfx__json_get(o, "nan", json_type_double))), "NaN");
    ok(!dfx__json_get(o, "none", json_type_object), "null is no member");
    ok(!dfx__json_get(o, "absent", json_type_int), "an absent member");
    ok(!dfx__json_get(o, "name", json_type_int), "a member of another type");
    ok(!dfx__json_get(NULL, "name", json_type_int), "a member of nothing");
    ok(strcmp(dfx__json_string(o, "name"), "x") == 0, "a string");
    ok(!dfx__json_string(o, "n"), "a number is no string");
    ok(dfx__json_get(o, "length", json_type_int) != NULL, "an integer of 31 digits");
    ok(!dfx__json_repeats(o, text, sizeof text - 1), "no key is there twice");
    json_object_put(o);
}

static void test_json_repeats(void)
{
    static const char twice[] = "{\"a\": [{\"b\": 1, \"b\": \"x:y\"}]}";
    static const char once[] = "{\"a\": [{\"b\": 1}, {\"b\": \"\\\":\"}]}";
    json_object *o;
    ok(dfx__json_parse(&o, twice, strlen(twice), "c") == DFX_OK, "a key twice is parsed");
    ok(dfx__json_repeats(o, twice, strlen(twice)), "a key twice is found");
    json_object_put(o);
    ok(dfx__json_parse(&o, once, strlen(once), "c") == DFX_OK, "a key in two objects is parsed");
    ok(!dfx__json_repeats(o, once, strlen(once)), "a key in two objects is none twice");
    json_object_put(o);
}

static void test_json_errors(void)
{
    static const struct {
        const char *text, *message, *what;
    } bad[] = {
        { "", "c:1: the file is empty", "nothing" },
        { " \n\n", "c:3: the file is empty", "white space" },
        { "{\"a\": 1", "c:1: the text ends too early", "an object that is not closed" },
        { "{\"a\": \"b", "c:1: the text ends within a string", "a string that is not closed" },
        { "{\"a\": \"b\n\"}", "c:1: a string has a control", "a line end in a string" },
        { "{\"a\":\n[1,]}", "c:2: a value is missing", "a comma at the end of an array" },
        { "{\"a\": 1,\n}", "c:2: a value is missing", "a comma at the end of an object" },
        { "{} {}", "c:1: more text", "a second value" },
        { "{}\n\nx", "c:3: more text", "text after the value" },
        { "{'a': 1}", "c:1: JSON has no", "single quotes" },
        { "{} // x", "c:1: JSON has no", "a comment" },
        { "{\n  \"a\": 1,\n<<<<<<< HEAD/x\n", "c:3: a merge conflict", "a merge conflict" },
        { "<html>", "c:1: this is not JSON", "a web page" },
        { "{\"a\" 1}", "c:1: ", "a missing colon" },
        { "{\n\n\"a\": frue}", "c:3: ", "a wrong word" },
        { "[\"\xff\"]", "c:1: invalid utf-8", "text that is not UTF-8" },
        { "version https://git-lfs.github.com/spec/v1\n", "c: is a Git LFS pointer",
          "an LFS pointer" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_object *o;
        dfx_status status = dfx__json_parse(&o, bad[i].text, strlen(bad[i].text), "c");
        if (!ok(status == DFX_ERROR_FORMAT &&
                    !strncmp(dfx_error(), bad[i].message, strlen(bad[i].message)),
                "JSON: %s", bad[i].what))
            printf("# %s\n", dfx_error());
        if (status == DFX_OK)
            json_object_put(o);
    }
}

/* `n` times `text` between two characters. */
static dfx_status parse_many(const char *open, const char *text, const char *close, size_t n)
{
    size_t step = strlen(text), first = strlen(open);
    char *all = malloc(first + n * step + strlen(close) + 1);
    if (!all)
        exit(99);
    memcpy(all, open, first);
    for (size_t i = 0; i < n; i++)
        memcpy(all + first + i * step, text, step);
    strcpy(all + first + n * step, close);
    json_object *o;
    dfx_status status = dfx__json_parse(&o, all, strlen(all), "c");
    if (status == DFX_OK)
        json_object_put(o);
    free(all);
    return status;
}

static void test_json_limits(void)
{
    ok(parse_many("", "[", "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", 30) == DFX_OK,
       "30 arrays in each other");
    ok(parse_many("", "[", "", 100000) == DFX_ERROR_FORMAT, "100000 arrays in each other");
    ok(parse_many("[", "[],", "[]]", 1 << 20) == DFX_ERROR_FORMAT, "a million arrays");
    ok(parse_many("[", "0,", "0]", 9000000) == DFX_ERROR_FORMAT, "nine million numbers");
    ok(parse_many("[", "0,", "0]", 100000) == DFX_OK, "100000 numbers");
}

static void test_json_file(void)
{
    json_object *o;
    put("a.json", "{\"a\":\n1");
    ok(dfx__json_read(&o, in_folder("a.json")) == DFX_ERROR_FORMAT &&
           strstr(dfx_error(), "a.json:2: "),
       "a JSON file's errors name it");
    put("b.json", "{\"a\": 1}\n");
    ok(dfx__json_read(&o, in_folder("b.json")) == DFX_OK, "a JSON file");
    json_object_put(o);
    ok(dfx__json_read(&o, in_folder("c.json")) == DFX_ERROR_FILE &&
           strstr(dfx_error(), "c.json: No such"),
       "a JSON file that is not there");
    put("d.json", "");
    ok(truncate(in_folder("d.json"), 65 << 20) == 0 &&
           dfx__json_read(&o, in_folder("d.json")) == DFX_ERROR_FORMAT,
       "a JSON file of 65 MiB");
}

static void test_map(void)
{
    dfx__mapped m;
    put("empty", "");
    ok(dfx__map_file(&m, in_folder("empty")) == DFX_OK && m.bytes == 0 && m.data, "an empty file");
    dfx__unmap_file(&m);
    ok(!m.data, "it is unmapped");
    put("text", "abc");
    ok(holds("text", "abc"), "a file of three bytes");
    ok(dfx__map_file(&m, folder) == DFX_ERROR_FILE && strstr(dfx_error(), "is a folder"),
       "a folder");
    ok(mkfifo(in_folder("fifo"), 0600) == 0 &&
           dfx__map_file(&m, in_folder("fifo")) == DFX_ERROR_FILE,
       "a FIFO does not hang");
    ok(dfx__file_exists(in_folder("text")) && !dfx__file_exists(folder), "which files exist");
    ok(dfx__folder_exists(folder) && !dfx__folder_exists(in_folder("text")), "which folders exist");
}

static void test_join(void)
{
    static const char *const parts[][3] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "b" }, { "/", "b", "/b" }
    };
    for (int i = 0; i < 4; i++) {
        char *path = dfx__path_join(parts[i][0], parts[i][1]);
        ok(path && strcmp(path, parts[i][2]) == 0, "'%s' and '%s'", parts[i][0], parts[i][1]);
        free(path);
    }
}

static void write_new(const char *name, const char *text, int commit)
{
    dfx__new_file f;
    if (!ok(dfx__file_create(&f, in_folder(name)) == DFX_OK, "%s is created", name))
        return;
    fputs(text, f.stream);
    if (commit)
        ok(dfx__file_commit(&f) == DFX_OK, "%s is committed", name);
    else
        dfx__file_abandon(&f);
}

static void test_new_file(void)
{
    struct stat info;
    umask(027);
    put("old", "before");
    write_new("old", "half", 0);
    ok(holds("old", "before"), "an abandoned file changes nothing");
    write_new("old", "after", 1);
    ok(holds("old", "after"), "a committed file replaces the old one");
    write_new("new", "x", 1);
    ok(stat(in_folder("new"), &info) == 0 && (info.st_mode & 0777) == 0640,
       "it has the umask's mode");
    ok(symlink("new", in_folder("link")) == 0, "a link");
    write_new("link", "y", 1);
    ok(holds("new", "y") && lstat(in_folder("link"), &info) == 0 && S_ISLNK(info.st_mode),
       "writing through a link keeps it");
    char longest[256];
    memset(longest, 'n', 255);
    longest[255] = 0;
    char path[600];
    dfx__new_file f;
    snprintf(path, sizeof path, "%s/%s", folder, longest);
    ok(dfx__file_create(&f, path) == DFX_OK && dfx__file_commit(&f) == DFX_OK,
       "a name of 255 bytes");
    unlink(path);
}

static void test_new_file_errors(void)
{
    dfx__new_file f;
    ok(dfx__file_create(&f, folder) == DFX_ERROR_FILE, "a folder cannot be written");
    ok(dfx__file_create(&f, in_folder("no/x")) == DFX_ERROR_FILE &&
           strstr(dfx_error(), "no/x: No such"),
       "a file in no folder");
    ok(dfx__file_create(&f, "/dev/null") == DFX_OK && dfx__file_commit(&f) == DFX_OK, "/dev/null");
    struct stat info;
    ok(stat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode), "/dev/null is still a device");
    if (access("/dev/full", W_OK) != 0) {
        skip("there is no /dev/full", "a full disk");
        return;
    }
    ok(dfx__file_create(&f, "/dev/full") == DFX_OK && fputs("x", f.stream) >= 0 &&
           dfx__file_commit(&f) == DFX_ERROR_FILE && strstr(dfx_error(), "No space"),
       "a full disk");
}

static void clean(void)
{
    static const char *const names[] = { "a.json", "b.json", "d.json", "empty", "text",
                                         "fifo",   "old",    "new",    "link" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_folder(names[i]));
    ok(rmdir(folder) == 0, "no temporary file is left");
}

static void count_freed(void *owner)
{
    ++*(int *)owner;
}

static void add_name(void *user, const char *name)
{
    strcat(strcat(user, name), " ");
}

static const dfx__mount_entry inside[] = {
    { "model_index.json", (const unsigned char *)"{}", 2, 0, NULL },
    { "unet/config.json", (const unsigned char *)"[]", 2, 0, NULL },
    { "unet/weights", (const unsigned char *)"w", 1, 0, NULL },
    { "vae/empty", NULL, 0, 0, NULL },
};

static void test_mount(void)
{
    enum { ENTRIES = sizeof inside / sizeof *inside };
    dfx__mount *m, *again;
    dfx__mapped window;
    int freed = 0;
    char names[100] = "";
    put("model", "all");
    char *path = strdup(in_folder("model"));
    ok(dfx__mount_find(path) == DFX__MOUNT_OUTSIDE && !dfx__mount_again(path), "no mount yet");
    if (!ok(dfx__mount_add(&m, path, inside, ENTRIES, &freed, count_freed) == DFX_OK, "a mount"))
        return;
    ok(holds("model/unet/config.json", "[]") && holds("model//vae/empty", ""), "files of a mount");
    ok(dfx__map_file(&window, in_folder("model/unet/none")) == DFX_ERROR_FILE &&
           strstr(dfx_error(), "model/unet/none: No such file"),
       "a file that a mount does not have");
    ok(dfx__map_file(&window, in_folder("model/unet")) == DFX_ERROR_FILE, "a folder is no file");
    ok(dfx__file_exists(in_folder("model/unet/weights")) &&
           !dfx__file_exists(in_folder("model/unet")) &&
           !dfx__file_exists(in_folder("model/unet/weight")) &&
           !dfx__file_exists(in_folder("model2")),
       "which files exist in it");
    ok(dfx__folder_exists(in_folder("model/unet/")) && dfx__folder_exists(path) &&
           !dfx__folder_exists(in_folder("model/un")) &&
           !dfx__folder_exists(in_folder("model/unet/weights")),
       "which folders exist in it");
    ok(dfx__file_exists(path) && holds("model", "all"), "the file itself stays a file");
    dfx__folder_list(path, add_name, names);
    dfx__folder_list(in_folder("model/unet"), add_name, names);
    ok(strcmp(names, "model_index.json unet vae config.json weights ") == 0, "its names: %s",
       names);
    again = dfx__mount_again(path);
    ok(again == m, "mounted again");
    dfx__mount_release(again);
    ok(dfx__map_file(&window, in_folder("model/unet/weights")) == DFX_OK, "a window");
    dfx__mount_release(m);
    ok(!freed && window.data[0] == 'w', "a window keeps its mount");
    dfx__unmap_file(&window);
    ok(freed == 1 && dfx__mount_find(path) == DFX__MOUNT_OUTSIDE, "the last one frees it");
    unlink(path);
    free(path);
}

int main(void)
{
    make_folder("files");
    test_json_values();
    test_json_repeats();
    test_json_errors();
    test_json_limits();
    test_json_file();
    test_map();
    test_join();
    test_new_file();
    test_new_file_errors();
    test_mount();
    clean();
    return done();
}
