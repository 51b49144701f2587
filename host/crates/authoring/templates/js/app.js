// Counts the tasks of this machine, as the kernel tells them in /proc/loadavg.
//
// componentize-qjs looks for `export const collector` because wit/world.wit says `export collector`. Everything that can be
// imported is described in wit/deps/lowtide-addon. There is no console and no network: use the imports.
import { get } from "lowtide:addon/config@0.1.0";
import { read } from "lowtide:addon/host-data@0.1.0";
import { write } from "lowtide:addon/log@0.1.0";
import { parse } from "./parse.js";

export const collector = {
  // What this addon measures, and how often. Called once, before the first collection.
  describe() {
    return {
      help: "Tasks that the kernel knows, from /proc/loadavg.",
      interval: 10,
      metrics: [
        {
          name: "tasks",
          kind: "gauge",
          unit: "count",
          help: "Tasks of the scheduler, by state.",
          labels: ["state"],
          buckets: [],
        },
      ],
    };
  },

  // Measures now. Throw a failure if it is not possible: the next collection comes all the same.
  collect() {
    // Readable because addon.toml asks for it and the operator grants it.
    let text;
    try {
      // Bytes; what the kernel writes is ASCII.
      text = String.fromCharCode(...read("/proc/loadavg"));
    } catch (error) {
      throw { tag: "unavailable", val: `/proc/loadavg: ${error.tag ?? error} ${error.val ?? ""}` };
    }
    const counted = parse(text);
    if (!counted) throw { tag: "unavailable", val: `/proc/loadavg has another form than expected: ${text}` };
    // A setting of the operator: [addon.{{id}}.settings] warn_above = 50
    const limit = get("warn_above");
    if (limit && counted.runnable > Number(limit.val)) {
      write("warn", `${counted.runnable} tasks want to run, more than ${limit.val}`);
    }
    return [
      { name: "tasks", labels: ["runnable"], value: counted.runnable },
      { name: "tasks", labels: ["all"], value: counted.all },
    ];
  },
};
