;; Answers with an object of 70 KB, which is more than a document may have.
(memory (export "memory") 2)
(data (i32.const 16) "{\"a\":\"")
(data (i32.const 70014) "\"}")
(data (i32.const 4) "\10\00\00\00\70\11\01\00")
(func (export "stats") (result i32)
  (memory.fill (i32.const 22) (i32.const 120) (i32.const 69992))
  i32.const 0)
