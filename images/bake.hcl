# All images of Switchboard. `make images` fills the variables in; by hand: docker buildx bake --file images/bake.hcl --load
variable "TAG" { default = "dev" }
variable "VERSION" { default = "unknown" }
variable "REVISION" { default = "unknown" }
variable "CREATED" { default = "1970-01-01T00:00:00Z" }
variable "SOURCE" { default = "unknown" }
# A CA bundle that the network of the build needs; it is mounted while pip runs and reaches no layer.
variable "CA" { default = "" }

group "default" {
  targets = ["proxy", "coordinator", "mock-agent"]
}

target "image" {
  name = image
  matrix = {
    image = ["proxy", "coordinator", "mock-agent"]
  }
  context    = "."
  dockerfile = "images/${image}/Dockerfile"
  tags       = ["switchboard-${image}:${TAG}"]
  secret     = CA == "" ? [] : ["type=file,id=ca,src=${CA}"]
  args = {
    VERSION  = VERSION
    REVISION = REVISION
    CREATED  = CREATED
    SOURCE   = SOURCE
  }
}
