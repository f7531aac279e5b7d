// Shows the API's description with Swagger UI, which asks nothing of any other host.
SwaggerUIBundle({
  url: document.body.dataset.openapi,
  dom_id: "#documentation",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
