"""Running one test against a fresh fake."""

import asyncio

from tests.drivers.s3.fake import FakeS3
from tests.drivers.s3.support import make_driver


def run(test, kind=None, **settings):
    """Run `test(fake, driver)` against a fresh fake."""

    async def main():
        fake = FakeS3()
        driver = make_driver(
            settings.pop("endpoint", fake.url),
            **({"kind": kind} if kind else {}),
            transport=fake.transport(),
            **settings,
        )
        try:
            return await test(fake, driver)
        finally:
            await driver.aclose()

    return asyncio.run(main())
