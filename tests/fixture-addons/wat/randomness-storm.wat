;; Asks for 64 KiB of randomness for ever: as much as there may be in one call to the host.
(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core module $libc
    (memory (export "memory") 20)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 65536))
  (core instance $libc (instantiate $libc))
  (core func $get (canon lower (func $random "get-random-bytes")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "random" "get" (func $get (param i64 i32)))
    (func (export "stats") (result i32)
      (loop $again (call $get (i64.const 65536) (i32.const 32)) (br $again))
      unreachable))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "random" (instance (export "get" (func $get))))))
  (import "lowtide:addon/types@0.1.0" (instance $types
    (type $f (variant (case "absent" string) (case "config" string) (case "unavailable" string) (case "denied" string) (case "other" string)))
    (export "failure" (type (eq $f)))))
  (alias export $types "failure" (type $failure))
  (func $stats (result (result string (error $failure)))
    (canon lift (core func $i "stats") (memory (core memory $libc "memory"))))
  (instance $e (export "stats" (func $stats)))
  (export "lowtide:addon/custom-stats@0.1.0" (instance $e)))
