/* Reading the files of /proc; needs nothing of Lowtide. native/parse_test.c tests it. */
#ifndef PARSE_H
#define PARSE_H

#include <stdbool.h>
#include <stddef.h>

struct load {
    double minute, five_minutes, fifteen_minutes;
    double runnable, tasks;
};

struct files {
    double open, most;
};

/* Each reads a text of `length` bytes, which need not end in a zero, and says whether it has the form that it should have. */
bool parse_number(const char *text, size_t length, double *number);
bool parse_load(const char *text, size_t length, struct load *load);
bool parse_files(const char *text, size_t length, struct files *files);

#endif
