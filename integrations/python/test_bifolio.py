"""Tests of the package, with numpy."""

import unittest

import bifolio


class Shared(unittest.TestCase):
    def setUp(self):
        self.space = bifolio.Space(16 << 20, checked=True)
        self.device = self.space.attach(vram=1 << 20)
        self.port = self.device.port()

    def tearDown(self):
        self.assertEqual(self.space.stats()["violations"], 0)
        self.space.close()

    def test_arrays_and_the_model_have_the_same_bytes(self):
        array = self.space.array((1024, 512))
        array[:] = 3
        address = array.ctypes.data
        for row in range(1024):
            self.assertEqual(self.port.load(address + row * 4096), 3)
            self.port.store(address + row * 4096, row)
        self.assertTrue((array[:, 0] == range(1024)).all() and (array[:, 1:] == 3).all())
        self.assertGreater(self.space.stats()["evictions"], 0)

    def test_residency_follows_pages(self):
        array = self.space.array(64 * 512)
        address = array.ctypes.data
        self.space.prefetch(address, array.nbytes, self.device)
        self.assertTrue(self.space.residency(address, array.nbytes).all())
        array[512] = 1
        self.assertFalse(self.space.residency(address, array.nbytes)[1])

    def test_faults_that_are_posted_become_events(self):
        address = self.space.allocate(4096)
        self.assertIsNone(self.port.try_read(address, 8))
        self.port.post(address, tag=5)
        while (event := self.port.next_event()) is None:
            pass
        self.assertEqual((event["tag"], event["result"]), (5, 0))
        self.assertEqual(self.port.try_read(address, 8), bytes(8))

    def test_errors_have_codes_and_text(self):
        with self.assertRaises(bifolio.Error) as caught:
            self.port.resolve(4096)
        self.assertEqual(caught.exception.code, -3)
        self.assertIn("no allocation", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
