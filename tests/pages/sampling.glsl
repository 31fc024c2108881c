#version 330

uniform sampler2D mask;
uniform int h;
in vec2 uv;
out vec4 colour;

void main()
{
BLOCK
    colour = vec4(inside, covered, 0.0, 1.0);
}
