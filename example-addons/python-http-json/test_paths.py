"""`python3 -m unittest` in this folder."""

import unittest

from paths import SettingError, number_at, parse_metrics, parse_path, unit_of


class Paths(unittest.TestCase):
    def test_paths_are_keys_and_places(self):
        for path, steps in [
            ("a", ["a"]),
            ("a.b", ["a", "b"]),
            ("a[0].b", ["a", 0, "b"]),
            ("[1][2]", [1, 2]),
            ('a."b.c".d', ["a", "b.c", "d"]),
            ("a b.c-d", ["a b", "c-d"]),
        ]:
            self.assertEqual(parse_path(path), steps, path)
        for path in [".", "a.", "a..b", "a[x]", "a[0", "a]b", 'a"b"', "[0]a"]:
            with self.assertRaises(SettingError, msg=path):
                parse_path(path)

    def test_numbers_are_found(self):
        document = {"a": [{"b": 1.5}, True, "7", None, "x", [], "nan", 10**400]}
        for path, wanted in [
            ("a[0].b", 1.5),
            ("a[1]", 1.0),
            ("a[2]", 7.0),
            ("a[3]", None),
            ("a[4]", None),
            ("a[5]", None),
            ("a[6]", None),
            ("a[7]", None),
            ("a[9]", None),
            ("a.b", None),
            ("b", None),
        ]:
            self.assertEqual(number_at(document, parse_path(path)), wanted, path)


class Settings(unittest.TestCase):
    def test_lines_are_names_and_paths(self):
        self.assertEqual(parse_metrics(["a_ratio = b.c", "d=e"]), [("a_ratio", ["b", "c"]), ("d", ["e"])])
        for line in ["a", "a =", "= b", "A = b", "a__b = c", "a_count = c", "a_sum_total = c", "1a = c"]:
            with self.assertRaises(SettingError, msg=line):
                parse_metrics([line])
        with self.assertRaises(SettingError):
            parse_metrics(["a = b", "a = c"])

    def test_units_are_the_last_word(self):
        for name, unit in [
            ("a_bytes_per_second", "bytes_per_second"),
            ("a_per_second", "per_second"),
            ("a_seconds_total", "seconds"),
            ("a", "count"),
            ("seconds", "count"),
        ]:
            self.assertEqual(unit_of(name), unit, name)


if __name__ == "__main__":
    unittest.main()
