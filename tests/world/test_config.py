import inspect

import pytest
from pydantic import ValidationError

from world.config import WorldConfig
from world.documents import make_documents
from world.prompts import make_prompts


def test_every_field_says_what_it_is() -> None:
    assert all(field.description for field in WorldConfig.model_fields.values())


def test_an_unknown_field_and_a_share_of_one_are_refused() -> None:
    with pytest.raises(ValidationError, match="document_count"):
        WorldConfig.model_validate({"document_count": 5})
    with pytest.raises(ValidationError, match="defect_share"):
        WorldConfig(defect_share=1.0)


def test_the_defaults_of_the_generators_are_those_of_the_config() -> None:
    config = WorldConfig().model_dump()
    for generator in (make_documents, make_prompts):
        for name, parameter in inspect.signature(generator).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                assert config[name] == parameter.default
