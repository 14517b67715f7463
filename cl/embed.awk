# embed.awk - prints C source that holds the text files named on the command line.
#
# Run it with LC_ALL=C and -v header=FILE -v type=TYPE -v array=NAME: the array has that type, a
# struct of a name and a text, and the header declares it. The texts are arrays of numbers, because
# ISO C ends a string literal at 4095 characters.

function name_of(path)
{
    sub(/^.*\//, "", path)
    sub(/\.[a-z]+$/, "", path)
    return path
}

# Characters of a line that are not plain ASCII would come out differently from awk to awk.
function embed(path, index_,    line, out, i, c, number, status)
{
    number = 0
    printf "static const char text_%d[] = {\n", index_
    while ((status = (getline line < path)) > 0) {
        number++
        out = ""
        for (i = 1; i <= length(line); i++) {
            c = substr(line, i, 1)
            if (!(c in code)) {
                printf "%s:%d: only plain ASCII text can be embedded\n", path, number > "/dev/stderr"
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
    print "/* Made by cl/embed.awk. */"
    printf "#include \"%s\"\n\n", header
    for (i = 1; i < ARGC; i++)
        embed(ARGV[i], i)
    printf "const %s %s[] = {\n", type, array
    for (i = 1; i < ARGC; i++)
        printf "    { \"%s\", text_%d },\n", name_of(ARGV[i]), i
    print "    { 0, 0 }\n};"
}
