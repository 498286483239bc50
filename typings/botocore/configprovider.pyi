# What credstore uses of a package without types.

class ConstantProvider:
    def __init__(self, value: object) -> None: ...

class ConfigValueStore:
    def set_config_provider(self, logical_name: str, provider: ConstantProvider) -> None: ...
