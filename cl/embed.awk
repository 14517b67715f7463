# embed.awk - prints C source that holds the OpenCL C files named on the command line.
#
# Run it with LC_ALL=C. The texts are arrays of numbers, because ISO C ends a string literal at
# 4095 characters.

function name_of(path)
{
    sub(/^.*\//, "", path)
    sub(/\.cl$/, "", path)
    return path
}

# Characters of a line that are not plain ASCII would come out differently from awk to awk.
function embed(path,    line, out, i, c, number, status)
{
    number = 0
    printf "static const char text_%s[] = {\n", name_of(path)
    while ((status = (getline line < path)) > 0) {
        number++
        out = ""
        for (i = 1; i <= length(line); i++) {
            c = substr(line, i, 1)
            if (!(c in code)) {
                printf "%s:%d: a kernel is plain ASCII text\n", path, number > "/dev/stderr"
                exit 1
            }
            out = out code[c] ","
        }
        print out "10,"
    }
    if (status < 0) {
        printf "%s: cannot be read\n", path > "/dev/stderr"
        exit 1
    }
    close(path)
    print "0};\n"
}

BEGIN {
    code["\t"] = 9
    for (i = 32; i < 127; i++)
        code[sprintf("%c", i)] = i
    print "/* Made by cl/embed.awk from cl/. */"
    print "#include \"device/kernels.h\"\n"
    for (i = 1; i < ARGC; i++)
        embed(ARGV[i])
    print "const dfx__kernel_source dfx__kernel_sources[] = {"
    for (i = 1; i < ARGC; i++)
        printf "    { \"%s\", text_%s },\n", name_of(ARGV[i]), name_of(ARGV[i])
    print "    { 0, 0 }\n};"
}
