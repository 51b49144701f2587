#include "parse.h"

#include <stdio.h>
#include <string.h>

/* The longest of these files has 40 bytes. */
#define LINE_MAX 128

static bool line_of(const char *text, size_t length, char line[LINE_MAX]) {
    if (length >= LINE_MAX) return false;
    memcpy(line, text, length);
    line[length] = '\0';
    return true;
}

bool parse_number(const char *text, size_t length, double *number) {
    char line[LINE_MAX];
    return line_of(text, length, line) && sscanf(line, "%lf", number) == 1;
}

/* `0.52 0.58 0.59 2/941 12345` */
bool parse_load(const char *text, size_t length, struct load *load) {
    char line[LINE_MAX];
    return line_of(text, length, line)
        && sscanf(line, "%lf %lf %lf %lf/%lf", &load->minute, &load->five_minutes, &load->fifteen_minutes,
                  &load->runnable, &load->tasks) == 5;
}

/* `1216 0 9223372036854775807`: allocated, free (always 0 since Linux 2.6), most. */
bool parse_files(const char *text, size_t length, struct files *files) {
    char line[LINE_MAX];
    double unused;
    return line_of(text, length, line) && sscanf(line, "%lf %lf %lf", &files->open, &unused, &files->most) == 3;
}
