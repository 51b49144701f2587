// Entropy, load and open files, as the kernel tells them in /proc.
//
// The functions of the host and the ones to write follow from wit/world.wit; `lowtide addon build` declares them in
// .lowtide/bindings/addon.h. What is returned must come from malloc, as addon_string_dup does it: the caller frees it.

#include "addon.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>

#define ENTROPY "/proc/sys/kernel/random/entropy_avail"
#define LOAD "/proc/loadavg"
#define FILES "/proc/sys/fs/file-nr"

enum metric {
    ENTROPY_BITS,
    LOAD_1M,
    LOAD_5M,
    LOAD_15M,
    RUNNABLE_TASKS,
    TASKS,
    OPEN_FILES,
    OPEN_FILES_MOST,
    METRICS,
};

static const struct {
    const char *name, *help;
} METRIC[METRICS] = {
    [ENTROPY_BITS] = {"entropy_bits", "Entropy that the kernel's random number generator holds; 256 is all since Linux 5.18."},
    [LOAD_1M] = {"load_1m", "Tasks that ran or waited, on average over the last minute."},
    [LOAD_5M] = {"load_5m", "Tasks that ran or waited, on average over the last five minutes."},
    [LOAD_15M] = {"load_15m", "Tasks that ran or waited, on average over the last quarter of an hour."},
    [RUNNABLE_TASKS] = {"runnable_tasks", "Tasks that run or want to run at this moment."},
    [TASKS] = {"tasks", "Tasks that the kernel knows: processes and threads."},
    [OPEN_FILES] = {"open_files", "File handles that all processes hold together."},
    [OPEN_FILES_MOST] = {"open_files_limit", "File handles that all processes may hold together."},
};

// What a collection has found so far.
struct found {
    lowtide_addon_types_sample_t *samples;
    size_t count;
    // A file that could not be read for another reason than not being there, and why.
    bool failed;
    lowtide_addon_types_failure_t failure;
};

static void put(struct found *found, enum metric metric, double value) {
    lowtide_addon_types_sample_t *sample = &found->samples[found->count++];
    addon_string_dup(&sample->name, METRIC[metric].name);
    sample->value = value;
}

// Remembers the first failure, as `path: why`.
static void fail(struct found *found, uint8_t tag, const char *path, const char *why, size_t length) {
    if (found->failed) return;
    char text[512];
    snprintf(text, sizeof text, "%s: %.*s", path, (int)length, why);
    found->failed = true;
    found->failure.tag = tag;
    // Every kind of failure is a text, in the same place.
    addon_string_dup(&found->failure.val.other, text);
}

static void fail_plain(struct found *found, const char *path, const char *why) {
    fail(found, LOWTIDE_ADDON_TYPES_FAILURE_UNAVAILABLE, path, why, 200);
}

// Reads a file of /proc; false if it is not there or cannot be read.
static bool look(struct found *found, const char *name, addon_list_u8_t *content) {
    addon_string_t path;
    lowtide_addon_host_data_data_error_t error;
    addon_string_set(&path, name);
    if (lowtide_addon_host_data_read(&path, content, &error)) return true;
    switch (error.tag) {
    case LOWTIDE_ADDON_HOST_DATA_DATA_ERROR_NOT_FOUND:
        // A container may not have it.
        break;
    case LOWTIDE_ADDON_HOST_DATA_DATA_ERROR_NOT_GRANTED: {
        addon_string_t *text = &error.val.not_granted;
        fail(found, LOWTIDE_ADDON_TYPES_FAILURE_DENIED, name, (const char *)text->ptr, text->len);
        break;
    }
    case LOWTIDE_ADDON_HOST_DATA_DATA_ERROR_UNREADABLE: {
        addon_string_t *text = &error.val.unreadable;
        fail(found, LOWTIDE_ADDON_TYPES_FAILURE_UNAVAILABLE, name, (const char *)text->ptr, text->len);
        break;
    }
    default:
        fail(found, LOWTIDE_ADDON_TYPES_FAILURE_OTHER, name, "it cannot be read", 200);
        break;
    }
    lowtide_addon_host_data_data_error_free(&error);
    return false;
}

static void look_at_entropy(struct found *found) {
    addon_list_u8_t content;
    if (!look(found, ENTROPY, &content)) return;
    double bits;
    if (parse_number((const char *)content.ptr, content.len, &bits)) put(found, ENTROPY_BITS, bits);
    else fail_plain(found, ENTROPY, "it has another form than expected");
    addon_list_u8_free(&content);
}

static void look_at_load(struct found *found) {
    addon_list_u8_t content;
    if (!look(found, LOAD, &content)) return;
    struct load load;
    if (parse_load((const char *)content.ptr, content.len, &load)) {
        put(found, LOAD_1M, load.minute);
        put(found, LOAD_5M, load.five_minutes);
        put(found, LOAD_15M, load.fifteen_minutes);
        put(found, RUNNABLE_TASKS, load.runnable);
        put(found, TASKS, load.tasks);
    } else {
        fail_plain(found, LOAD, "it has another form than expected");
    }
    addon_list_u8_free(&content);
}

static void look_at_files(struct found *found) {
    addon_list_u8_t content;
    if (!look(found, FILES, &content)) return;
    struct files files;
    if (parse_files((const char *)content.ptr, content.len, &files)) {
        put(found, OPEN_FILES, files.open);
        put(found, OPEN_FILES_MOST, files.most);
    } else {
        fail_plain(found, FILES, "it has another form than expected");
    }
    addon_list_u8_free(&content);
}

// What this addon measures, and how often. Called once, before the first collection.
void exports_lowtide_addon_collector_describe(exports_lowtide_addon_collector_description_t *description) {
    addon_string_dup(&description->help, "Entropy, load and open files, as the kernel tells them in /proc.");
    description->interval = 15;
    description->metrics.len = METRICS;
    description->metrics.ptr = calloc(METRICS, sizeof *description->metrics.ptr);
    if (!description->metrics.ptr) abort();
    for (size_t at = 0; at < METRICS; at++) {
        lowtide_addon_types_definition_t *metric = &description->metrics.ptr[at];
        addon_string_dup(&metric->name, METRIC[at].name);
        metric->kind = LOWTIDE_ADDON_TYPES_KIND_GAUGE;
        metric->unit = LOWTIDE_ADDON_TYPES_UNIT_COUNT;
        addon_string_dup(&metric->help, METRIC[at].help);
    }
}

// Measures now. One file that fails does not keep the others from being told; it is a line in the log then.
bool exports_lowtide_addon_collector_collect(exports_lowtide_addon_collector_list_sample_t *samples,
                                             lowtide_addon_types_failure_t *failure) {
    struct found found = {.samples = calloc(METRICS, sizeof *found.samples)};
    if (!found.samples) abort();
    look_at_entropy(&found);
    look_at_load(&found);
    look_at_files(&found);
    if (found.count == 0) {
        free(found.samples);
        if (!found.failed) {
            found.failure.tag = LOWTIDE_ADDON_TYPES_FAILURE_ABSENT;
            addon_string_dup(&found.failure.val.absent, "this machine has none of the files in /proc");
        }
        *failure = found.failure;
        return false;
    }
    if (found.failed) {
        lowtide_addon_log_write(LOWTIDE_ADDON_LOG_LEVEL_WARN, &found.failure.val.other);
        lowtide_addon_types_failure_free(&found.failure);
    }
    samples->ptr = found.samples;
    samples->len = found.count;
    return true;
}
