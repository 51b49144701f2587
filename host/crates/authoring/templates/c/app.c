// Counts the tasks of this machine, as the kernel tells them in /proc/loadavg.
//
// The functions of the host and the ones to write follow from wit/world.wit; `lowtide addon build` declares them in
// .lowtide/bindings/addon.h. What is returned must come from malloc, as addon_string_dup does it: the caller frees it.

#include "addon.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Runnable and all tasks: `0.52 0.58 0.59 2/941 12345` says 2 and 941.
static bool parse(const char *text, double *runnable, double *all) {
    return sscanf(text, "%*s %*s %*s %lf/%lf", runnable, all) == 2;
}

static addon_list_string_t strings(const char *only) {
    addon_list_string_t list = {.ptr = malloc(sizeof(addon_string_t)), .len = 1};
    addon_string_dup(&list.ptr[0], only);
    return list;
}

static lowtide_addon_types_sample_t sample(const char *name, const char *state, double value) {
    lowtide_addon_types_sample_t sample = {.labels = strings(state), .value = value};
    addon_string_dup(&sample.name, name);
    return sample;
}

static bool fail(lowtide_addon_types_failure_t *failure, const char *text) {
    failure->tag = LOWTIDE_ADDON_TYPES_FAILURE_UNAVAILABLE;
    addon_string_dup(&failure->val.unavailable, text);
    return false;
}

// What this addon measures, and how often. Called once, before the first collection.
void exports_lowtide_addon_collector_describe(exports_lowtide_addon_collector_description_t *description) {
    addon_string_dup(&description->help, "Tasks that the kernel knows, from /proc/loadavg.");
    description->interval = 10;
    description->metrics.len = 1;
    description->metrics.ptr = calloc(1, sizeof(*description->metrics.ptr));
    lowtide_addon_types_definition_t *tasks = &description->metrics.ptr[0];
    addon_string_dup(&tasks->name, "tasks");
    tasks->kind = LOWTIDE_ADDON_TYPES_KIND_GAUGE;
    tasks->unit = LOWTIDE_ADDON_TYPES_UNIT_COUNT;
    addon_string_dup(&tasks->help, "Tasks of the scheduler, by state.");
    tasks->labels = strings("state");
}

// Warns when more tasks want to run than a setting of the operator says: [addon.{{id}}.settings] warn_above = 50
static void warn(double runnable) {
    addon_string_t key;
    lowtide_addon_config_value_t limit;
    addon_string_set(&key, "warn_above");
    if (!lowtide_addon_config_get(&key, &limit)) return;
    if (limit.tag == LOWTIDE_ADDON_CONFIG_VALUE_INTEGER && runnable > (double)limit.val.integer) {
        char text[96];
        addon_string_t line;
        snprintf(text, sizeof text, "%.0f tasks want to run, more than %lld", runnable, (long long)limit.val.integer);
        addon_string_set(&line, text);
        lowtide_addon_log_write(LOWTIDE_ADDON_LOG_LEVEL_WARN, &line);
    }
    lowtide_addon_config_value_free(&limit);
}

// Measures now. False with a failure if it is not possible: the next collection comes all the same.
bool exports_lowtide_addon_collector_collect(exports_lowtide_addon_collector_list_sample_t *samples,
                                             lowtide_addon_types_failure_t *failure) {
    addon_string_t path;
    addon_list_u8_t content;
    lowtide_addon_host_data_data_error_t error;
    addon_string_set(&path, "/proc/loadavg");
    // Readable because addon.toml asks for it and the operator grants it.
    if (!lowtide_addon_host_data_read(&path, &content, &error)) {
        lowtide_addon_host_data_data_error_free(&error);
        return fail(failure, "/proc/loadavg cannot be read");
    }
    char text[128] = {0};
    memcpy(text, content.ptr, content.len < sizeof text ? content.len : sizeof text - 1);
    addon_list_u8_free(&content);
    double runnable, all;
    if (!parse(text, &runnable, &all)) return fail(failure, "/proc/loadavg has another form than expected");
    warn(runnable);
    samples->len = 2;
    samples->ptr = calloc(2, sizeof(*samples->ptr));
    samples->ptr[0] = sample("tasks", "runnable", runnable);
    samples->ptr[1] = sample("tasks", "all", all);
    return true;
}
