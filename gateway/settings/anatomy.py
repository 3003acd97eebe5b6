"""What may stand where in the settings: annotations of the models, followed down."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def member(annotation: Any, part: str | int) -> Any:
    """Returns the annotation of `part` inside a model, a mapping or a list; None if nothing can be there."""
    model = model_in(annotation)
    if model is not None:
        field = model.model_fields.get(str(part))
        return field.annotation if field else None
    for inner in alternatives(annotation):
        if get_origin(inner) in (dict, list):
            return get_args(inner)[-1]
    return None


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Returns the model that an annotation allows, None if it allows none."""
    for inner in alternatives(annotation):
        if isinstance(inner, type) and get_origin(inner) is None and issubclass(inner, BaseModel):
            return inner
    return None


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Returns the types that an annotation allows, without what is annotated to them."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return alternatives(arguments[0])
    if origin in (UnionType, Union):
        return tuple(inner for each in arguments for inner in alternatives(each))
    return (annotation,)
