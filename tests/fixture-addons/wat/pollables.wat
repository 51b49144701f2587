;; Makes timers without end and drops none of them.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $p))
    (export "pollable" (type $own-p (eq $p)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $own-p))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core module $m
    (import "clock" "subscribe" (func $subscribe (param i64) (result i32)))
    (memory (export "memory") 1)
    (func (export "stats") (result i32)
      (loop $again (drop (call $subscribe (i64.const 1000000000000))) (br $again))
      unreachable))
  (core instance $i (instantiate $m
    (with "clock" (instance (export "subscribe" (func $subscribe))))))
  (import "lowtide:addon/types@0.1.0" (instance $types
    (type $f (variant (case "absent" string) (case "config" string) (case "unavailable" string) (case "denied" string) (case "other" string)))
    (export "failure" (type (eq $f)))))
  (alias export $types "failure" (type $failure))
  (func $stats (result (result string (error $failure)))
    (canon lift (core func $i "stats") (memory (core memory $i "memory"))))
  (instance $e (export "stats" (func $stats)))
  (export "lowtide:addon/custom-stats@0.1.0" (instance $e)))
