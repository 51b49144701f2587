;; Answers with a string of 4 GiB.
(memory (export "memory") 1)
(data (i32.const 4) "\00\00\00\00\ff\ff\ff\ff")
(func (export "stats") (result i32) i32.const 0)
